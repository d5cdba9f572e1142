"""Quantities of a run's distance from its anchor (`perigee.analysis.similarity`).

Only checkpoints in the last third of phase B are compared: minima, not the states between them.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from perigee.claims.rows import of_one_run

COSINE, INDEPENDENT_COSINE = "cosine_similarity", "independent_cosine_similarity"


def similarity_within_period(table: pd.DataFrame) -> float:
    """The median cosine similarity of the anchor with later minima of its own period.

    NaN without any.
    """
    minima = _minima(table)
    return float(minima.loc[minima["period"] == 0, COSINE].median(skipna=False))


def similarity_in_last_period(table: pd.DataFrame) -> float:
    """The mean cosine similarity with the anchor in the last period; NaN without a later period."""
    minima = _minima(table)
    last = minima["period"].max()
    return _mean(minima[minima["period"] == last], COSINE) if last > 0 else math.nan


def similarity_trend(table: pd.DataFrame) -> float:
    """The rank correlation of periods and their mean cosine similarity with the anchor.

    It is -1 where each period is farther from the anchor than the one before. The anchor's own
    period counts; NaN with fewer than three.
    """
    means = _minima(table).groupby("period")[COSINE].mean()
    if len(means) < 3 or not np.isfinite(means).all():
        return math.nan
    return float(np.corrcoef(np.arange(len(means)), means.rank())[0, 1])


def similarity_excess(table: pd.DataFrame, *, period: int) -> float:
    """The similarity of a period to the anchor beyond that to an independent checkpoint.

    Args:
        table: the rows of one run.
        period: number of the period, counted from the anchor's, which is 0.

    Returns:
        The difference of the mean cosine similarities; NaN without that period.
    """
    minima = _minima(table)
    rows = minima[minima["period"] == period]
    return _mean(rows, COSINE) - _mean(rows, INDEPENDENT_COSINE)


def _minima(table: pd.DataFrame) -> pd.DataFrame:
    """The minima except the anchor itself."""
    table = of_one_run(table)
    return table[table["minimum"] & (table["epoch"] > table["anchor_epoch"])]


def _mean(rows: pd.DataFrame, column: str) -> float:
    return float(rows[column].mean(skipna=False)) if len(rows) else math.nan
