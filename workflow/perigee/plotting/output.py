"""Writing a figure: PDF, PNG and the plotted numbers, stamped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from perigee.plotting.sheet import PAPER_WIDTH, WIDE, Layout, Sheet

Drawing = Callable[[Sheet], None]
"""Draws a figure's panels on a sheet, whatever its layout."""


def stamp_text(stamp: Mapping[str, Any]) -> str:
    """Put a stamp in words: source, scale and, for a paper's figure, deviations from the paper."""
    line = f"{stamp['source']} · {stamp['scale']} scale"
    if "deviations" not in stamp:
        return line
    deviations = "; ".join(stamp["deviations"])
    ending = f"differs from the paper in: {deviations}" if deviations else "same at paper scale"
    return f"{line} · {ending}"


def draw_figure(draw: Drawing, layout: Layout, stamp: Mapping[str, Any]) -> Figure:
    """Draw a figure in a layout, with its stamp.

    Args:
        draw: draws the panels.
        layout: the sizes.
        stamp: scale, source and, for a paper's figure, deviations.
    """
    with layout.type_sizes():
        sheet = Sheet(layout)
        draw(sheet)
        return sheet.finish(stamp_text(stamp))


def save_figure(
    draw: Drawing, plotted: pd.DataFrame, folder: str | Path, stamp: Mapping[str, Any]
) -> None:
    """Draw a figure in both layouts, and write the files of `FIGURE_FILES` but the notebook.

    The wide one stays open, so that a notebook shows it.

    Args:
        draw: draws the panels.
        plotted: the numbers that the figure shows.
        folder: the folder for the files.
        stamp: see `draw_figure`.
    """
    target = Path(folder)
    narrow = draw_figure(draw, PAPER_WIDTH, stamp)
    narrow.savefig(target / "figure_paper_width.pdf", metadata={"CreationDate": None})
    plt.close(narrow)
    wide = draw_figure(draw, WIDE, stamp)
    wide.savefig(target / "figure.pdf", metadata={"CreationDate": None})
    wide.savefig(target / "figure.png", metadata={"Software": None})
    plotted.to_csv(target / "figure.csv", index=False, lineterminator="\n")
