"""Quantities that compare runs of one sweep, on a table with a row per run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from perigee.claims.columns import selected
from perigee.claims.rows import of_one_run

Conditions = Mapping[str, Any]


def column_at_lowest(table: pd.DataFrame, *, column: str, lowest: str, where: Conditions) -> float:
    """The value of a column at the run at which another column is lowest.

    Args:
        table: a row per run.
        column: the column that is measured.
        lowest: the column that tells the run. A run that has no finite value, such as one that
            diverged, is not looked at.
        where: the rows that are looked at (`perigee.claims.columns.selected`).

    Returns:
        The value; among runs that are equally low the smallest; NaN without any.

    Raises:
        KeyError, NotMeasurableError: see `perigee.claims.columns.measure`.
    """
    rows = selected(table, where)
    rows = rows[np.isfinite(rows[lowest].to_numpy(dtype=float))]
    return float(rows.loc[rows[lowest] == rows[lowest].min(), column].min(skipna=False))


def train_loss_ratio(table: pd.DataFrame, *, over: Conditions, under: Conditions) -> float:
    """The lowest train loss of one run over that of another.

    A run with periods gets to a low loss between destabilisations, however often these come.

    Args:
        table: columns ``run``, ``lowest_train_loss`` and ``stopped``, a row per run.
        over, under: the row of the one and that of the other.

    Returns:
        The ratio; infinite where only the one diverged, and NaN where the other did.

    Raises:
        KeyError, NotMeasurableError: see `perigee.claims.columns.measure`.
    """
    one, other = (of_one_run(selected(table, rows)) for rows in (over, under))
    if one.empty or other.empty or other["stopped"].any():
        return math.nan
    if one["stopped"].any():
        return math.inf
    first, second = (float(rows["lowest_train_loss"].iloc[0]) for rows in (one, other))
    return first / second if second else math.nan
