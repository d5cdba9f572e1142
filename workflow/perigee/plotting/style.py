"""The look that all figures share."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.rcsetup import cycler

LINE_WIDTH = 0.9
PALEST = 0.85
"""The part of the colour map that lines use: its end is too pale on white."""

COLOUR_BLIND = (
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
)
"""Colours that colour-blind readers can tell apart: those of seaborn's palette of that name."""

CATEGORIES = ("#0173b2", "#d55e00", "#029e73", "#cc78bc", "#000000", "#56b4e9")
"""The colours for values without an order: black, and those of `COLOUR_BLIND` not too pale."""

BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0, "zorder": 1.5}
"""The look of a range over seeds, behind all lines."""

DARK = "0.15"
"""The grey of axes, ticks and text."""

TICKS = {
    "color": DARK,
    "labelsize": 8,
    "major.size": 4.8,
    "major.width": 1,
    "minor.size": 3.2,
    "minor.width": 0.8,
}
"""The look of ticks on either axis."""

INK = "0.3"
"""The grey of annotations and stamps."""


def apply_style() -> None:
    """Set matplotlib up for print: 9-point labels, thin axes, embedded fonts, a light grid.

    Nothing of a user's matplotlibrc is kept, and no font that not every machine has is used.
    """
    mpl.rcdefaults()
    mpl.style.use(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.labelsize": 9,
            "axes.linewidth": 0.6,
            "axes.prop_cycle": cycler(color=map(to_rgb, COLOUR_BLIND)),
            "axes.titlesize": 10,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it along
            "font.size": 9,
            "grid.alpha": 0.25,
            "grid.color": "0.8",
            "grid.linewidth": 0.5,
            "legend.fontsize": 8,
            "legend.framealpha": 0.85,
            "legend.title_fontsize": 9.6,
            "lines.linewidth": LINE_WIDTH,
            "lines.markersize": 4.8,
            "lines.solid_capstyle": "round",
            "patch.edgecolor": "w",
            "patch.force_edgecolor": True,
            "patch.linewidth": 0.8,
            "pdf.fonttype": 42,
            "savefig.dpi": 200,
            **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color"), DARK),
            **{f"{axis}tick.{key}": value for axis in "xy" for key, value in TICKS.items()},
        }
    )


def ordered_colours(values: Iterable[float]) -> dict[Hashable, str]:
    """A colour for each value, lighter with higher values and distinct for every reader.

    The colours are viridis without its palest part: its lightness grows evenly, so that it also
    works in grey.
    """
    ascending = sorted(set(values))
    shades = mpl.colormaps["viridis"](np.linspace(0, PALEST, len(ascending)))
    return dict(zip(ascending, map(to_hex, shades), strict=True))


def colours_of(values: Iterable[Any]) -> dict[Hashable, str]:
    """A colour for each value: ordered ones for numbers, else those of `CATEGORIES` in turn."""
    distinct = list(dict.fromkeys(values))
    if is_ordered(distinct):
        return ordered_colours(distinct)
    return {v: CATEGORIES[i % len(CATEGORIES)] for i, v in enumerate(distinct)}


def is_ordered(values: Iterable[Any]) -> bool:
    """Return whether all values are numbers."""
    return all(map(_is_number, values))


def in_words(value: Any) -> str:
    """A swept value for a legend: a number in short form, a block by name and parameters."""
    if isinstance(value, str) and value.startswith("{"):
        block = json.loads(value)
        name = [in_words(block.pop("name"))] if "name" in block else []
        return ", ".join([*name, *(f"{in_words(k)} {in_words(v)}" for k, v in block.items())])
    if _is_number(value):
        return f"{value:g}"
    return str(value).replace("_", " ")


def labels_of(values: Iterable[Any]) -> dict[Hashable, str]:
    """A label for each value that distinguishes it; for blocks, only what differs."""
    distinct = list(dict.fromkeys(values))
    if not all(isinstance(value, str) and value.startswith("{") for value in distinct):
        return {value: in_words(value) for value in distinct}
    blocks = [json.loads(value) for value in distinct]
    if len({block.get("name") for block in blocks}) == len(blocks):
        return {v: in_words(b["name"]) for v, b in zip(distinct, blocks, strict=True)}
    keys = sorted({key for block in blocks for key in block})
    differing = [key for key in keys if len({repr(block.get(key)) for block in blocks}) > 1]
    return {
        value: in_words(json.dumps({key: block[key] for key in differing if key in block}))
        for value, block in zip(distinct, blocks, strict=True)
    }


def key_in_words(key: str) -> str:
    """A swept key for a legend: "head norm" of "model.head_norm", "model" of "model.name"."""
    *_, group, last = ["", *key.split(".")]
    return in_words(group if last == "name" else last)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
