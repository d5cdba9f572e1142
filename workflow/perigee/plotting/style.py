"""The look that all figures share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.colors import to_hex

LINE_WIDTH = 0.9
PALEST = 0.85
"""How far up the colour map lines go: its end is too pale on white."""

INK = "0.3"
"""Grey of annotations and stamps."""


def apply_style() -> None:
    """Set matplotlib up for print: 9-point labels, thin axes, embedded fonts, a light grid."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "axes.grid": True,
            "axes.labelsize": 9,
            "axes.linewidth": 0.6,
            "axes.titlesize": 10,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "font.size": 9,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.5,
            "legend.fontsize": 8,
            "legend.framealpha": 0.85,
            "lines.linewidth": LINE_WIDTH,
            "pdf.fonttype": 42,
            "savefig.dpi": 200,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
        }
    )


def ordered_colours(values: Iterable[float]) -> dict[Hashable, str]:
    """A colour for each value, dark to light with the value, told apart by every reader.

    Viridis without its palest part: it grows evenly in lightness,
    so that it also works in grey.
    """
    ascending = sorted(set(values))
    shades = mpl.colormaps["viridis"](np.linspace(0, PALEST, len(ascending)))
    return dict(zip(ascending, map(to_hex, shades), strict=True))
