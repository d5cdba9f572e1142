"""Panels that several figures share: a quantity over epochs, and the phase diagram.

A line stands for the runs of one setting, which differ in the seed. Where something happens to each
run at an epoch of its own, as in a period, a median over seeds would show what happens to none;
there one run is drawn, that of the first seed. The range over all seeds is a light band, left out
where the events of the other seeds would fill the panel.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from perigee.plotting.looks import Looks, first_seed, over_seeds
from perigee.plotting.style import BAND, in_words

Drawn = Literal["first seed", "median", "mean"]

STEADY = ("weight_norm", "effective_learning_rate", "cosine_similarity")
"""Quantities that no event throws to the other end of their axis: their range over seeds says
something even where events of different seeds are at different epochs."""

OVER_EPOCHS = {
    "train_loss": (1, "Train loss", "log"),
    "train_error": (100, "Train error, %", "log"),
    "test_loss": (1, "Test loss", "log"),
    "test_error": (100, "Test error, %", "log"),
    "weight_norm": (1, "SI weight norm ρ", "log"),
    "effective_learning_rate": (1, "Effective learning rate η / ρ²", "log"),
    "effective_gradient_norm": (1, "Mean effective gradient norm", "log"),
}
"""Column of the metrics -> its factor, the panel's title, and the axis scale."""

SIMILARITY = {
    "cosine_similarity": (1, "Cosine similarity with the anchor", "linear"),
    "ensemble_test_error": (100, "Test error of the ensemble, %", "log"),
}
"""The same for columns of `perigee.analysis.similarity`."""

KNOWN = {
    **OVER_EPOCHS,
    **SIMILARITY,
    "angular_update": (1, "Angular update Δ, radians", "log"),
}
"""The same for both, and of steps; other columns are drawn as they are."""


def draw_over_epochs(
    axes: Axes,
    metrics: pd.DataFrame,
    quantity: str,
    looks: Looks,
    drawn: Drawn = "first seed",
    of: str = "",
    along: str = "epoch",
) -> None:
    """Draw a line for each setting; of medians, means and `STEADY` quantities the range over seeds.

    A cross marks the last finite point of a run that diverged, where one run is drawn.

    Args:
        axes: the axes that get lines, title and labels.
        metrics: a table of `perigee.analysis.run_metrics`, or one with the columns of the panel.
        quantity: the column on the vertical axis.
        looks: the looks of the settings.
        drawn: what a line shows: the run of the first seed, or the median or mean over seeds.
        of: what the title says the quantity is of.
        along: the column on the horizontal axis, which may be that of steps.
    """
    factor, title, scale = KNOWN.get(quantity, (1, in_words(quantity).capitalize(), "linear"))
    scaled = metrics.assign(**{quantity: factor * metrics[quantity]})
    for rows, look in looks.settings(scaled):
        summary, run = over_seeds(rows, quantity, along), first_seed(rows)
        if drawn != "first seed" or quantity in STEADY:
            edges = (summary["lowest"], summary["highest"])
            axes.fill_between(summary.index, *edges, color=look["color"], **BAND)
        if drawn != "first seed":
            axes.plot(summary.index, summary[drawn], **look)
            continue
        axes.plot(run[along], run[quantity], **look)
        if "stopped" in run and run["stopped"].any():
            _draw_cross(axes, run, along, quantity, look["color"])
    title = f"{of}: {title[:1].lower()}{title[1:]}" if of else title
    axes.set(title=title, xlabel=along, yscale=scale)


def draw_phase_diagram(axes: Axes, metrics: pd.DataFrame, looks: Looks) -> None:
    """Draw effective learning rate against effective gradient norm, on logarithmic axes.

    See `draw_trajectories` (Lobacheva et al. 2021, Figure 3).
    """
    horizontal, vertical = "effective_learning_rate", "effective_gradient_norm"
    draw_trajectories(axes, metrics, horizontal, vertical, looks)
    axes.set(
        title="Phase diagram",
        xlabel="effective learning rate η / ρ²",
        ylabel="mean effective gradient norm",
    )


def draw_against_loss(axes: Axes, metrics: pd.DataFrame, quantity: str, looks: Looks) -> None:
    """Draw a quantity against the train loss, on logarithmic axes.

    See `draw_trajectories` (Kodryan et al. 2022, Figures 1, 3, 5 and 7).
    """
    factor, title, _ = KNOWN.get(quantity, (1, in_words(quantity).capitalize(), "log"))
    scaled = metrics.assign(**{quantity: factor * metrics[quantity]})
    draw_trajectories(axes, scaled, "train_loss", quantity, looks)
    axes.set(title=title, xlabel="train loss")


def draw_trajectories(
    axes: Axes, metrics: pd.DataFrame, horizontal: str, vertical: str, looks: Looks
) -> None:
    """Draw one quantity against another, on logarithmic axes.

    Only the first seed is drawn, since lines of several would cross. A star marks the start, a
    cross the last finite point of a run that diverged.

    Args:
        axes, metrics, looks: see `draw_over_epochs`.
        horizontal, vertical: columns of the metrics.
    """
    for rows, look in looks.settings(metrics):
        run = first_seed(rows)
        axes.plot(run[horizontal], run[vertical], linewidth=0.7, **look)
        start: dict[str, Any] = {
            "marker": "*",
            "markersize": 11,
            "color": look["color"],
            "markeredgecolor": "black",
            "markeredgewidth": 0.6,
            "zorder": 4,
        }
        axes.plot(run[horizontal].iloc[0], run[vertical].iloc[0], **start)
        if run["stopped"].any():
            _draw_cross(axes, run, horizontal, vertical, look["color"])
    axes.set(xscale="log", yscale="log")


def _draw_cross(axes: Axes, run: pd.DataFrame, x: str, y: str, colour: str) -> None:
    # Above the star: a run that diverged in its first epoch has both on one point.
    end = run[np.isfinite(run[[x, y]]).all(axis=1)].tail(1)
    axes.plot(end[x], end[y], "x", color=colour, markeredgewidth=1.5, zorder=5)
