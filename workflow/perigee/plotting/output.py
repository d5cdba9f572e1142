"""Writing a figure: PDF, PNG and the plotted numbers, stamped."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from perigee.plotting.style import INK

STAMP_CHARACTERS_PER_INCH = 17


def stamp_text(stamp: Mapping[str, Any]) -> str:
    """Put a stamp in words: source, scale and, for a paper's figure, deviations from the paper."""
    line = f"{stamp['source']} · {stamp['scale']} scale"
    if "deviations" not in stamp:
        return line
    deviations = "; ".join(stamp["deviations"])
    ending = f"differs from the paper in: {deviations}" if deviations else "same at paper scale"
    return f"{line} · {ending}"


def save_figure(
    figure: Figure, plotted: pd.DataFrame, folder: str | Path, stamp: Mapping[str, Any]
) -> None:
    """Stamp the figure and write figure.pdf, figure.png and figure.csv.

    Args:
        figure: a figure with a free margin for its ``supxlabel``, which becomes the stamp.
        plotted: the numbers that the figure shows.
        folder: the folder for the files.
        stamp: scale, source and, for a paper's figure, deviations.
    """
    width = int(figure.get_figwidth() * STAMP_CHARACTERS_PER_INCH)
    text = textwrap.fill(stamp_text(stamp), width)
    figure.supxlabel(text, fontsize=6.5, color=INK, x=0.01, ha="left", linespacing=1.3)
    target = Path(folder)
    figure.savefig(target / "figure.pdf", metadata={"CreationDate": None})
    figure.savefig(target / "figure.png", metadata={"Software": None})
    plotted.to_csv(target / "figure.csv", index=False, lineterminator="\n")
