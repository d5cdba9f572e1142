"""Quantities that are read off a column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from perigee.claims.claim import NotMeasurableError

STATISTICS: dict[str, Callable[[pd.Series], Any]] = {
    "first": lambda values: values.iloc[0],
    "last": lambda values: values.iloc[-1],
    "minimum": pd.Series.min,
    "maximum": pd.Series.max,
    "mean": pd.Series.mean,
    "median": pd.Series.median,
}


def column_statistic(
    table: pd.DataFrame,
    *,
    column: str,
    statistic: str,
    where: Mapping[str, Any],
    last_fraction: float,
) -> float:
    """A statistic of a column, over some of the rows.

    Args:
        table: any.
        column: holds numbers, or true and false, which count as 1 and 0.
        statistic: a key of `STATISTICS`.
        where: only rows with these values in these columns count. A number names a setting, such
            as a learning rate, that some row has to have; a text, such as a phase, need not occur.
        last_fraction: only the last part of those rows counts, e.g. 0.5 for the second half.

    Raises:
        KeyError: the table lacks a column.
        NotMeasurableError: it lacks a setting.
    """
    for name, value in where.items():
        table = table[table[name] == value]
        if table.empty and not isinstance(value, str):
            raise NotMeasurableError(f"no rows with {name} {value:g}")
    values = table[column].iloc[len(table) - math.ceil(last_fraction * len(table)) :]
    return float(STATISTICS[statistic](values)) if len(values) else math.nan
