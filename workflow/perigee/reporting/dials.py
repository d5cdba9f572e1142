"""The dials of a figure's runs beside the paper's values, for the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from perigee.analysis.dials import DIALS, Dial
from perigee.blocks.analyses import Dials
from perigee.planning.products import FigureProduct
from perigee.store.tables import TABLE

LOOKS = {True: "good", False: "bad", None: "open"}
"""The class of a value in the page's style, by whether it lies in the wanted range."""


def dials_of_figure(figure: FigureProduct, store: Path) -> list[dict[str, Any]]:
    """The dials in every such table of a figure, for the template.

    Args:
        figure: a figure whose tables are complete.
        store: the store's folder.

    Returns:
        For each table its ``settings``, in words, and ``rows``, one a dial: its ``meaning``, the
        ``paper``'s value, the range that is ``wanted``, and the ``values``, one a setting, each
        with its ``text`` and ``look``.
    """
    tables = [table for table in figure.tables.values() if isinstance(table.analysis, Dials)]
    return [_shown(pd.read_parquet(store / table.folder / TABLE)) for table in tables]


def _shown(table: pd.DataFrame) -> dict[str, Any]:
    settings = [name for name in map(str, table.columns) if name not in (*DIALS, "run", "seed")]
    swept = [name for name in settings if table[name].nunique(dropna=False) > 1]
    groups = (
        [(", ".join(map(_word, key)), rows) for key, rows in table.groupby(swept, sort=False)]
        if swept
        else [("", table)]
    )
    return {
        "settings": [name for name, _ in groups],
        "swept": ", ".join(name.rpartition(".")[2].replace("_", " ") for name in swept),
        "rows": [
            {
                "meaning": dial.meaning,
                "paper": dial.paper,
                "wanted": _range(dial),
                "values": [_value(dial, rows[name]) for _, rows in groups],
            }
            for name, dial in DIALS.items()
        ],
    }


def _value(dial: Dial, values: pd.Series[float]) -> dict[str, str]:
    """The median over the seeds, with its range where it has one."""
    measured = values.dropna()
    median = float(measured.median()) if len(measured) else math.nan
    text = "nothing to measure" if math.isnan(median) else f"{median:.3g}"
    if len(measured) > 1 and measured.min() < measured.max():
        text += f" ({measured.min():.3g} to {measured.max():.3g})"
    return {"text": text, "look": LOOKS[dial.met(median)]}


def _range(dial: Dial) -> str:
    if dial.least == dial.most:
        return f"{dial.least:g}"
    if math.isinf(dial.most):
        return f"at least {dial.least:g}"
    return f"{dial.least:g} to {dial.most:g}" if dial.least > 0 else f"at most {dial.most:g}"


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
