"""Panels that several figures share: a quantity over epochs, and the phase diagram."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes

LEARNING_RATE = "optimiser.learning_rate"


def draw_over_epochs(
    axes: Axes, metrics: pd.DataFrame, quantity: str, colours: Mapping[Hashable, str]
) -> None:
    """One line for each learning rate, of the first seed.

    A cross ends the line of a run that stopped because its loss was not finite.

    Args:
        axes: gets the lines, labelled with the learning rate.
        metrics: a table of `perigee.analysis.run_metrics`.
        quantity: the column on the vertical axis.
        colours: a colour for each learning rate.
    """
    for rate, run in _first_seed_runs(metrics):
        axes.plot(run["epoch"], run[quantity], color=colours[rate], label=f"{rate:g}")
        if run["stopped"].any():
            end = run.iloc[-1]
            axes.plot(end["epoch"], end[quantity], "x", color=colours[rate])


def draw_phase_diagram(axes: Axes, metrics: pd.DataFrame, colours: Mapping[Hashable, str]) -> None:
    """Effective learning rate against effective gradient norm, both logarithmic; first seed.

    A star marks the start (Lobacheva et al. 2021, Figure 3).
    """
    for rate, run in _first_seed_runs(metrics):
        x, y = run["effective_learning_rate"], run["effective_gradient_norm"]
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
    axes.set(xscale="log", yscale="log")


def _first_seed_runs(metrics: pd.DataFrame) -> Iterator[tuple[float, pd.DataFrame]]:
    """Learning rates with their runs, from the highest, whose line is the busiest, to the top."""
    first = metrics[metrics["seed"] == metrics["seed"].min()]
    for rate in sorted(first[LEARNING_RATE].unique(), reverse=True):
        yield float(rate), first[first[LEARNING_RATE] == rate]
