"""Panels that several figures share: a quantity over epochs, and the phase diagram."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

LEARNING_RATE = "optimiser.learning_rate"


def draw_over_epochs(
    axes: Axes, metrics: pd.DataFrame, quantity: str, colours: Mapping[Hashable, str]
) -> None:
    """One line for each learning rate, of the first seed.

    A cross marks the last finite point of a run that stopped because its loss was not finite.

    Args:
        axes: gets the lines, labelled with the learning rate and whether the run stopped.
        metrics: a table of `perigee.analysis.run_metrics`.
        quantity: the column on the vertical axis.
        colours: a colour for each learning rate.
    """
    for rate, run in _first_seed_runs(metrics):
        stopped = " (× stopped)" if run["stopped"].any() else ""
        axes.plot(run["epoch"], run[quantity], color=colours[rate], label=f"{rate:g}{stopped}")
        if stopped:
            _draw_cross(axes, run, "epoch", quantity, colours[rate])


def draw_phase_diagram(axes: Axes, metrics: pd.DataFrame, colours: Mapping[Hashable, str]) -> None:
    """Effective learning rate against effective gradient norm, both logarithmic; first seed.

    A star marks the start (Lobacheva et al. 2021, Figure 3), a cross the last finite point of a
    run that stopped.
    """
    horizontal, vertical = "effective_learning_rate", "effective_gradient_norm"
    for rate, run in _first_seed_runs(metrics):
        x, y = run[horizontal], run[vertical]
        axes.plot(x, y, color=colours[rate], label=f"{rate:g}", linewidth=0.7)
        axes.plot(
            x.iloc[0],
            y.iloc[0],
            marker="*",
            markersize=11,
            color=colours[rate],
            markeredgecolor="black",
            markeredgewidth=0.6,
            zorder=4,
        )
        if run["stopped"].any():
            _draw_cross(axes, run, horizontal, vertical, colours[rate])
    axes.set(xscale="log", yscale="log")


def _draw_cross(axes: Axes, run: pd.DataFrame, x: str, y: str, colour: str) -> None:
    # Above the star: a run that stopped in its first epoch has both on one point.
    end = run[np.isfinite(run[[x, y]]).all(axis=1)].tail(1)
    axes.plot(end[x], end[y], "x", color=colour, markeredgewidth=1.5, zorder=5)


def _first_seed_runs(metrics: pd.DataFrame) -> Iterator[tuple[float, pd.DataFrame]]:
    """Learning rates with their runs, from the highest, whose line is the busiest, to the top."""
    first = metrics[metrics["seed"] == metrics["seed"].min()]
    for rate in sorted(first[LEARNING_RATE].unique(), reverse=True):
        yield float(rate), first[first[LEARNING_RATE] == rate]
