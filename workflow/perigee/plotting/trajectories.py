"""Panels that several figures share: a quantity over epochs, and the phase diagram."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pandas as pd
from matplotlib.axes import Axes

from perigee.plotting.style import LINE_WIDTH

FAINT = 0.25


def draw_over_epochs(
    axes: Axes,
    metrics: pd.DataFrame,
    quantity: str,
    colours: Mapping[Hashable, str],
    by: str = "optimiser.learning_rate",
) -> None:
    """One line for each value of ``by`` and seed: the first seed's in full, the others' faint.

    A cross ends the line of a run that stopped because its loss was not finite.

    Args:
        axes: gets the lines, labelled with the value.
        metrics: a table of `perigee.analysis.run_metrics`.
        quantity: the column on the vertical axis.
        colours: a colour for each value of ``by``.
        by: the column that tells the lines apart.
    """
    first_seed = metrics["seed"].min()
    for value, seed in metrics[[by, "seed"]].drop_duplicates().itertuples(index=False):
        run = metrics[(metrics[by] == value) & (metrics["seed"] == seed)]
        is_first = seed == first_seed
        axes.plot(
            run["epoch"],
            run[quantity],
            color=colours[value],
            label=f"{value:g}" if is_first else None,
            alpha=1.0 if is_first else FAINT,
            linewidth=LINE_WIDTH if is_first else 0.6 * LINE_WIDTH,
            zorder=3 if is_first else 2,
        )
        if run["stopped"].any():
            end = run.iloc[-1]
            axes.plot(end["epoch"], end[quantity], "x", color=colours[value])


def draw_phase_diagram(
    axes: Axes,
    metrics: pd.DataFrame,
    colours: Mapping[Hashable, str],
    by: str = "optimiser.learning_rate",
) -> None:
    """Effective learning rate against effective gradient norm, both logarithmic; first seed only.

    A star marks the start (Lobacheva et al. 2021, Figure 3).
    """
    first = metrics[metrics["seed"] == metrics["seed"].min()]
    for value, run in first.groupby(by):
        x, y = run["effective_learning_rate"], run["effective_gradient_norm"]
        axes.plot(x, y, color=colours[value], label=f"{value:g}", linewidth=0.7, alpha=0.8)
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
    axes.set(xscale="log", yscale="log")
