"""Quantities that are statistics of a column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perigee.claims.rows import NotMeasurableError

Floats = NDArray[np.float64]

STATISTICS: dict[str, Callable[[Floats], Any]] = {
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "minimum": np.min,
    "maximum": np.max,
    "mean": np.mean,
    "median": np.median,
}


def column_ratio(
    table: pd.DataFrame,
    *,
    column: str,
    statistic: str,
    over: Mapping[str, Any],
    under: Mapping[str, Any],
) -> float:
    """The ratio of a column's statistic over some rows to that over others; NaN if undefined.

    Args:
        table, column, statistic: see `column_statistic`.
        over, under: the rows of the numerator and of the denominator, in the form of its ``where``.

    Raises:
        KeyError: the table lacks a column.
        NotMeasurableError: the table lacks a setting.
    """
    above, below = (
        column_statistic(table, column=column, statistic=statistic, where=where, last_fraction=1)
        for where in (over, under)
    )
    return above / below if below else math.nan


def column_statistic(
    table: pd.DataFrame,
    *,
    column: str,
    statistic: str,
    where: Mapping[str, Any],
    last_fraction: float,
) -> float:
    """A statistic of a column, over some of the rows; NaN if one of its values is not finite.

    Args:
        table: any table.
        column: a column of numbers, or of true and false, which count as 1 and 0.
        statistic: a key of `STATISTICS`.
        where: only rows with these values in these columns count. A number is a setting, such as
            a learning rate, that some row must have; a text, such as a phase, need not occur.
        last_fraction: only the last part of those rows counts, e.g. 0.5 for the second half.

    Raises:
        KeyError: the table lacks a column.
        NotMeasurableError: the table lacks a setting.
    """
    settings = {name: value for name, value in where.items() if not isinstance(value, str)}
    for name, value in {**settings, **where}.items():
        table = table[table[name] == value]
        if table.empty and name in settings:
            raise NotMeasurableError(f"no rows with {name} {value:g}")
    values = table[column].to_numpy(dtype=float)
    values = values[len(values) - math.ceil(last_fraction * len(values)) :]
    measurable = len(values) > 0 and np.isfinite(values).all()
    return float(STATISTICS[statistic](values)) if measurable else math.nan
