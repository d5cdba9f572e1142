"""The number that a column has within a seed: a statistic, or what several of them make.

Several make a ratio, a difference, a trend, or a border.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from perigee.claims.relations import RELATIONS
from perigee.claims.rows import NotMeasurableError
from perigee.errors import PerigeeError

Floats = NDArray[np.float64]
Conditions = Mapping[str, Any]


class Ratio(NamedTuple):
    """A ratio that can be pooled over seeds, as the sum of numerators over that of denominators."""

    numerator: float
    denominator: float

    @property
    def value(self) -> float:
        """The ratio itself; NaN if one of the two is NaN, or if the denominator is 0."""
        return self.numerator / self.denominator if self.denominator else math.nan


def _sd(values: Floats) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _spread(values: Floats) -> float:
    return float(values.max() / values.min()) if values.min() > 0 else math.nan


def _cv(values: Floats) -> float:
    mean = float(np.mean(values))
    return _sd(values) / mean if mean else math.nan


STATISTICS: dict[str, Callable[[Floats], Any]] = {
    "cv": _cv,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "maximum": np.max,
    "mean": np.mean,
    "median": np.median,
    "minimum": np.min,
    "sd": _sd,
    "share": np.mean,
    "spread": _spread,
    "sum": np.sum,
}
"""Statistics of values: "sd" divides by their number less one, "cv" is sd / mean, "spread" is
maximum / minimum, and "share" is that of the true among true and false."""


def _log_slope(x: Floats, y: Floats) -> float:
    if not ((x > 0).all() and (y > 0).all()):
        return math.nan
    log_x = np.log(x)
    if np.ptp(log_x) == 0:  # as of numbers that differ in their last bits alone
        return math.nan
    return float(stats.linregress(log_x, np.log(y)).slope)


TRENDS: dict[str, Callable[[Floats, Floats], float]] = {
    "kendall": lambda x, y: float(stats.kendalltau(x, y).statistic),
    "log_slope": _log_slope,
    "spearman": lambda x, y: float(stats.spearmanr(x, y).statistic),
}
"""Statistics of values against others: Kendall's tau-b, the slope of the straight line through the
logarithms by least squares, and Spearman's rank correlation."""


def measure(
    rows: pd.DataFrame,
    *,
    column: str,
    within_seed: str,
    where: Conditions,
    last_fraction: float,
    over: Conditions | None,
    under: Conditions | None,
    plus: Conditions | None,
    minus: Conditions | None,
    against: str | None,
    border: Mapping[str, float] | None,
) -> float | Ratio:
    """The number that a column has within a seed.

    Args:
        rows: the rows of one seed, of any table.
        column: a column of numbers, or of true and false, which count as 1 and 0.
        within_seed: a key of `STATISTICS`; with ``against``, but no ``border``, one of `TRENDS`.
        where: the rows that count: column -> the value that it must have, or relations such as
            {"at_least": 2}.
        last_fraction: only the last part of the rows counts, e.g. 0.5 for the second half.
        over, under: of these rows above and below the line of a ratio.
        plus, minus: the rows of a difference.
        against: the column against which a trend is taken.
        border: relations that the statistic of the rows with equal values of ``against`` begins to
            meet as these values grow; the number is the value at which it does, see `_border`.

    Returns:
        The number; NaN without rows, if one of the values is not finite, and where the statistic is
        not defined: the trend against a constant, the spread of values that are not positive, a
        border that is nowhere.

    Raises:
        KeyError: the table lacks a column.
        NotMeasurableError: the table lacks a setting: no row has a number, or a value of a column
            with a dot in its name, that a condition asks for.
        PerigeeError: "share" is asked of a column that is not true or false.
    """

    def of(group: Conditions) -> pd.DataFrame:
        return last(selected(rows, {**where, **group}), last_fraction)

    if against is not None and border is not None:
        return _border(of({}), column, against, within_seed, border)
    if against is not None:
        return _trend(of({}), column, against, within_seed)
    if over is not None and under is not None:
        return Ratio(*(_statistic(of(group), column, within_seed) for group in (over, under)))
    if plus is not None and minus is not None:
        first, second = (_statistic(of(group), column, within_seed) for group in (plus, minus))
        return first - second
    return _statistic(of({}), column, within_seed)


def by_shared(
    rows: pd.DataFrame,
    *,
    shared: str,
    column: str,
    where: Conditions,
    last_fraction: float,
    over: Conditions | None,
    under: Conditions | None,
    plus: Conditions | None,
    minus: Conditions | None,
    **_: Any,
) -> tuple[pd.Series, ...]:
    """The means within a seed of which `measure` makes one number, apart for what all seeds share.

    Args:
        rows: see `measure`.
        shared: the column that tells it apart, such as ``image``.
        column, where, last_fraction, over, under, plus, minus: see `measure`.

    Returns:
        The means by the values of ``shared``, or their differences; of a ratio those above and
        those below the line.
    """
    groups = [group for group in (over, under, plus, minus) if group is not None] or [{}]
    chosen = (last(selected(rows, {**where, **group}), last_fraction) for group in groups)
    means = [group.groupby(shared)[column].mean() for group in chosen]
    return tuple(means) if plus is None else (means[0] - means[1],)


def selected(rows: pd.DataFrame, where: Conditions) -> pd.DataFrame:
    """The rows that meet all conditions.

    A number, and any value of a column such as ``optimiser.momentum``, is a setting, which some row
    must have; a table whose runs are not told apart by it lacks the column. What a run does, such
    as a phase or a relation, need not occur.

    Raises:
        KeyError, NotMeasurableError: see `measure`.
    """
    settings = {name: value for name, value in where.items() if _is_setting(name, value)}
    for name, value in {**settings, **where}.items():
        if "." in name and name not in rows:  # an overlay may drop a sweep
            raise NotMeasurableError(f"no rows with {name}")
        if isinstance(value, Mapping):
            for relation, bound in value.items():
                rows = rows[RELATIONS[relation](rows[name], bound)]
        else:
            rows = rows[rows[name] == value]
        if rows.empty and name in settings:
            told = f"{value:g}" if isinstance(value, float) else value
            raise NotMeasurableError(f"no rows with {name} {told}")
    return rows


def _is_setting(name: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        return False
    return "." in name or (isinstance(value, int | float) and not isinstance(value, bool))


def last(rows: pd.DataFrame, fraction: float) -> pd.DataFrame:
    """The last part of some rows; a part of a row counts as a row."""
    return rows.iloc[len(rows) - math.ceil(fraction * len(rows)) :]


def _statistic(rows: pd.DataFrame, column: str, statistic: str) -> float:
    values = rows[column].to_numpy(dtype=float)
    if not (len(values) and np.isfinite(values).all()):
        return math.nan
    if statistic == "share" and not np.isin(values, (0, 1)).all():
        raise PerigeeError(
            f"'share' is asked of column '{column}', which is not of true and false; take 'mean'."
        )
    return float(STATISTICS[statistic](values))


def _trend(rows: pd.DataFrame, column: str, against: str, statistic: str) -> float:
    x, y = (rows[name].to_numpy(dtype=float) for name in (against, column))
    is_defined = len(x) > 1 and np.isfinite(x).all() and np.isfinite(y).all() and np.ptp(x) > 0
    return TRENDS[statistic](x, y) if is_defined else math.nan


def _border(
    rows: pd.DataFrame, column: str, against: str, statistic: str, relations: Mapping[str, float]
) -> float:
    """Where along positive values of a column a condition begins to hold for all larger ones.

    Returns:
        The geometric mean of the largest value at which it does not hold and of the next one; NaN
        if it holds at every value, or not at the largest, and if a value or a statistic is not
        finite.
    """
    groups = rows.groupby(against, dropna=False)  # in the order of the values
    found = {place: _statistic(group, column, statistic) for place, group in groups}
    places, numbers = (np.array(list(part), dtype=float) for part in (found, found.values()))
    if not (len(found) and np.isfinite([places, numbers]).all() and places.min() > 0):
        return math.nan
    holds = np.all([RELATIONS[name](numbers, bound) for name, bound in relations.items()], axis=0)
    if holds.all() or not holds[-1]:
        return math.nan
    last = int(np.flatnonzero(~holds)[-1])
    return float(np.sqrt(places[last] * places[last + 1]))
