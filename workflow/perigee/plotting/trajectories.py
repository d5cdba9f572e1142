"""Panels that several figures share: a quantity over epochs, and the phase diagram.

A line is a run, coloured by a swept key: the learning rate, if no other is named.
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
    """One line for each value of a swept key, of the first seed.

    A cross marks the last finite point of a run that stopped because its loss was not finite.

    Args:
        axes: gets the lines, labelled with the value and whether the run stopped.
        metrics: a table of `perigee.analysis.run_metrics`.
        quantity: the column on the vertical axis.
        colours: a colour for each value.
        by: the swept key.
        style: of the lines.
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
    """Effective learning rate against effective gradient norm, both logarithmic; first seed.

    A star marks the start (Lobacheva et al. 2021, Figure 3), a cross the last finite point of a
    run that stopped.

    Args:
        axes, metrics, colours, by, style: as of `draw_over_epochs`.
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
    # Above the star: a run that stopped in its first epoch has both on one point.
    end = run[np.isfinite(run[[x, y]]).all(axis=1)].tail(1)
    axes.plot(end[x], end[y], "x", color=colour, markeredgewidth=1.5, zorder=5)


def _first_seed_runs(metrics: pd.DataFrame, by: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Values with their runs, from the highest learning rate, the busiest line, to the top."""
    if "seed" in metrics and by != "seed":
        metrics = metrics[metrics["seed"] == metrics["seed"].min()]
    for value in sorted(metrics[by].unique(), reverse=True):
        yield value, metrics[metrics[by] == value]
