"""Panels that compare a run's checkpoints with its anchor (`perigee.analysis.similarity`)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from perigee.plotting.looks import first_seed, over_seeds
from perigee.plotting.style import BAND
from perigee.plotting.trajectories import SIMILARITY, STEADY

ANCHOR_COLOUR, INDEPENDENT_COLOUR, SINGLE_COLOUR = "#0173b2", "#de8f05", "0.25"
"""The first two colours are from seaborn's colour-blind palette."""


def draw_against_anchor(axes: Axes, table: pd.DataFrame, quantity: str) -> None:
    """Draw a quantity of later checkpoints against the anchor and an independent checkpoint.

    Anchors and periods of different seeds are at different epochs: the first seed is drawn, over a
    band of the range over all if the quantity is `STEADY`. Its destabilisations are vertical lines.

    Args:
        axes: the axes that get the lines.
        table: columns of `perigee.analysis.similarity.tabulate`.
        quantity: the column for the anchor; that for the independent checkpoint has the prefix
            "independent_".
    """
    seeds, run = table["seed"].nunique(), first_seed(table)
    lines: tuple[tuple[str, str, Any, str], ...] = (
        (quantity, ANCHOR_COLOUR, "-", "anchor"),
        (f"independent_{quantity}", INDEPENDENT_COLOUR, "--", "independent run"),
    )
    factor = SIMILARITY[quantity][0]
    for column, colour, style, partner in lines:
        if quantity in STEADY:
            summary = factor * over_seeds(table, column).loc[run["epoch"].min() :]
            edges = summary["lowest"], summary["highest"]
            axes.fill_between(summary.index, *edges, color=colour, **BAND)
        label = f"with the {partner} (n = {seeds})"
        axes.plot(run["epoch"], factor * run[column], linestyle=style, color=colour, label=label)
    for position, epoch in enumerate(run.loc[run["period"].diff() > 0, "epoch"]):
        told = None if position else "destabilisation"
        axes.axvline(epoch, color="0.75", linewidth=0.6, zorder=0, label=told)
    axes.set_xlabel("epoch")


def draw_single_network(axes: Axes, table: pd.DataFrame, column: str) -> None:
    """Draw the error of the first seed's anchor by itself in %, as a dotted horizontal line.

    Args:
        axes: the axes that get the line.
        table: see `draw_against_anchor`.
        column: an error, with the anchor's value in every row.
    """
    level = 100 * first_seed(table)[column].iloc[0]
    axes.axhline(level, color=SINGLE_COLOUR, linestyle=":", linewidth=1.2, label="anchor alone")
