"""Panels that several figures share: a quantity over epochs, and the phase diagram.

A line is a run, coloured by a swept key, by default the learning rate.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from perigee.plotting.style import in_words

LEARNING_RATE = "optimiser.learning_rate"


def draw_over_epochs(
    axes: Axes,
    metrics: pd.DataFrame,
    quantity: str,
    colours: Mapping[Hashable, str],
    by: str = LEARNING_RATE,
    **style: Any,
) -> None:
    """Draw a line for each value of a swept key, from the run of the first seed.

    A cross marks the last finite point of a run that diverged.

    Args:
        axes: the axes that get the lines, labelled with the value and whether the run diverged.
        metrics: a table of `perigee.analysis.run_metrics`.
        quantity: the column on the vertical axis.
        colours: a colour for each value.
        by: the swept key.
        style: the style of the lines.
    """
    for value, run in _first_seed_runs(metrics, by):
        stopped = " (× stopped)" if run["stopped"].any() else ""
        label = f"{in_words(value)}{stopped}"
        axes.plot(run["epoch"], run[quantity], color=colours[value], label=label, **style)
        if stopped:
            _draw_cross(axes, run, "epoch", quantity, colours[value])


def draw_phase_diagram(
    axes: Axes,
    metrics: pd.DataFrame,
    colours: Mapping[Hashable, str],
    by: str = LEARNING_RATE,
    **style: Any,
) -> None:
    """Draw effective learning rate against effective gradient norm, on logarithmic axes.

    Only the first seed is drawn. A star marks the start (Lobacheva et al. 2021, Figure 3), a cross
    the last finite point of a run that diverged.

    Args:
        axes, metrics, colours, by, style: see `draw_over_epochs`.
    """
    horizontal, vertical = "effective_learning_rate", "effective_gradient_norm"
    for value, run in _first_seed_runs(metrics, by):
        x, y = run[horizontal], run[vertical]
        axes.plot(x, y, color=colours[value], label=in_words(value), **{"linewidth": 0.7, **style})
        axes.plot(
            x.iloc[0],
            y.iloc[0],
            marker="*",
            markersize=11,
            color=colours[value],
            markeredgecolor="black",
            markeredgewidth=0.6,
            zorder=4,
        )
        if run["stopped"].any():
            _draw_cross(axes, run, horizontal, vertical, colours[value])
    axes.set(xscale="log", yscale="log")


def _draw_cross(axes: Axes, run: pd.DataFrame, x: str, y: str, colour: str) -> None:
    # Above the star: a run that diverged in its first epoch has both on one point.
    end = run[np.isfinite(run[[x, y]]).all(axis=1)].tail(1)
    axes.plot(end[x], end[y], "x", color=colour, markeredgewidth=1.5, zorder=5)


def _first_seed_runs(metrics: pd.DataFrame, by: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield values and their runs, highest first: the busiest lines are drawn below the others."""
    if "seed" in metrics and by != "seed":
        metrics = metrics[metrics["seed"] == metrics["seed"].min()]
    for value in sorted(metrics[by].unique(), reverse=True):
        yield value, metrics[metrics[by] == value]
