"""Panels that compare a run's checkpoints with its anchor (`perigee.analysis.similarity`)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from perigee.plotting.style import FAINT

ANCHOR_COLOUR, INDEPENDENT_COLOUR, SINGLE_COLOUR = "#0173b2", "#de8f05", "0.25"
"""The first two colours are from seaborn's colour-blind palette."""


def draw_against_anchor(axes: Axes, table: pd.DataFrame, quantity: str) -> None:
    """Draw a quantity of later checkpoints against the anchor and an independent checkpoint.

    The first run is drawn strongly, the others faintly; the first one's destabilisations are
    vertical lines.

    Args:
        axes: the axes that get the lines.
        table: columns of `perigee.analysis.similarity.tabulate`.
        quantity: the column for the anchor; that for the independent checkpoint has the prefix
            "independent_".
    """
    for number, (_, run) in enumerate(table.groupby("run", sort=False)):
        first = number == 0
        lines = (
            (quantity, ANCHOR_COLOUR, "-", "anchor"),
            (f"independent_{quantity}", INDEPENDENT_COLOUR, "--", "independent run"),
        )
        for column, colour, style, partner in lines:
            axes.plot(
                run["epoch"],
                run[column],
                linestyle=style,
                color=colour,
                alpha=1 if first else FAINT,
                linewidth=1.2 if first else 0.7,
                label=f"with the {partner}" if first else None,
            )
        if first:
            begun = run.loc[run["period"].diff() > 0, "epoch"]
            for position, epoch in enumerate(begun):
                label = None if position else "destabilisation"
                axes.axvline(epoch, color="0.75", linewidth=0.6, zorder=0, label=label)


def draw_single_network(axes: Axes, table: pd.DataFrame, column: str) -> None:
    """Draw the value of the first run's anchor by itself, as a dotted horizontal line.

    Args:
        axes: the axes that get the line.
        table: see `draw_against_anchor`.
        column: a column with the anchor's value in every row.
    """
    level = table.loc[table["run"] == table["run"].min(), column].iloc[0]
    axes.axhline(level, color=SINGLE_COLOUR, linestyle=":", linewidth=1.2, label="anchor alone")
