"""From one number a seed to intervals: the statistics behind verdicts.

Seeds are the only independent draws. Events, epochs, steps and images inside one are repeated
measures, which make the seed's number better and their number no larger. All intervals hold 90 %,
so that each end is a one-sided test at 5 %.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

CONFIDENCE = 0.9
"""The confidence of all intervals, two-sided."""

PROOF = 0.95
"""The probability that a verdict on a rate asks for."""

FEWEST_SEEDS = 3
"""The fewest seeds that any verdict needs: two of two leave P(p > 1/2) at 0.92."""

RESAMPLES = 9999


class Estimate(NamedTuple):
    """An estimate with its interval; the interval is NaN where it is not defined."""

    value: float
    low: float
    high: float


def chance_above_half(fulfilled: int, measured: int) -> float:
    """The probability that a fresh seed fulfils the rule more often than not.

    With Jeffreys' prior, the posterior of the chance p is Beta(k + 1/2, m - k + 1/2).

    Args:
        fulfilled: k, the seeds that fulfil it.
        measured: m, the seeds that were measured.

    Returns:
        P(p > 1/2 | k, m).
    """
    return float(stats.beta.sf(0.5, fulfilled + 0.5, measured - fulfilled + 0.5))


def chance_of_false_proof(measured: int) -> float:
    """The probability that a rate is called reproduced though it holds in every second seed.

    Args:
        measured: m, the seeds that were measured.
    """
    proofs = [k for k in range(measured + 1) if chance_above_half(k, measured) >= PROOF]
    if measured < FEWEST_SEEDS or not proofs:
        return 0.0
    return float(stats.binom.sf(proofs[0] - 1, measured, 0.5))


def rate_interval(fulfilled: int, measured: int) -> Estimate:
    """The share of seeds that fulfil the rule, with Jeffreys' 90 % interval of the chance.

    If none or all do, the interval reaches to 0 or 1 (Brown, Cai and DasGupta 2001).
    """
    low, high = stats.beta.interval(CONFIDENCE, fulfilled + 0.5, measured - fulfilled + 0.5)
    low = 0.0 if fulfilled == 0 else float(low)
    high = 1.0 if fulfilled == measured else float(high)
    return Estimate(fulfilled / measured, low, high)


def mean_interval(values: ArrayLike) -> Estimate:
    """The mean over seeds, with Student's 90 % interval.

    Args:
        values: one number a seed; for ratios, the logarithms.

    Returns:
        The estimate; the interval is NaN with fewer than two values.
    """
    numbers = np.asarray(values, dtype=float)
    mean = float(np.mean(numbers))
    if len(numbers) < 2:
        return Estimate(mean, math.nan, math.nan)
    error = float(stats.sem(numbers))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(numbers) - 1)) * error
    return Estimate(mean, mean - reach, mean + reach)


def pooled_interval(numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """A ratio pooled over seeds, sum over sum, with a bootstrap interval over seeds.

    Numerator and denominator of a seed are resampled together. Percentile intervals of few draws
    are too narrow, so their levels are those of `_level`.

    Args:
        numerators, denominators: two numbers a seed.

    Returns:
        The estimate; NaN if the denominators' sum is not positive, with an interval that is NaN if
        that of some resample is not, and with fewer than two seeds.
    """
    above, below = (np.asarray(values, dtype=float) for values in (numerators, denominators))
    if not below.sum() > 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(above.sum() / below.sum())
    if len(above) < 2 or below.min() < 0:
        return Estimate(value, math.nan, math.nan)

    def pooled(above: Floats, below: Floats, axis: int) -> Floats:
        sums = below.sum(axis=axis)
        return np.where(sums > 0, above.sum(axis=axis) / np.where(sums > 0, sums, 1), np.nan)

    return _bootstrapped(value, (above, below), pooled, len(above), paired=True)


def two_way_interval(numbers: ArrayLike, denominators: ArrayLike | None = None) -> Estimate:
    """The mean over seeds and images, or a ratio of two sums over both, with an interval.

    All seeds share the test images, so that an interval over seeds alone holds for these images
    only. Here seeds and images are resampled, each by itself (Owen 2007, the pigeonhole bootstrap),
    so that it holds for fresh seeds on fresh images; it is somewhat wide where the two interact.

    Args:
        numbers: of shape (seeds, images), such as the difference of two runs' errors at an image.
        denominators: of a ratio what stands below the line, of the same shape.

    Returns:
        The estimate, NaN if the denominators' sum is not positive; the interval is NaN if that of
        some resample is not, and with fewer than two seeds.
    """
    above = np.asarray(numbers, dtype=float)
    below = np.ones_like(above) if denominators is None else np.asarray(denominators, dtype=float)
    seeds, images = (np.arange(size) for size in above.shape)

    def ratio(seeds: NDArray[np.intp], images: NDArray[np.intp]) -> float:
        place = np.ix_(seeds, images)
        total = below[place].sum()
        return float(above[place].sum() / total) if total > 0 else math.nan

    value = ratio(seeds, images)
    if len(seeds) < 2 or math.isnan(value):
        return Estimate(value, math.nan, math.nan)

    def ratios(seeds: NDArray[np.intp], images: NDArray[np.intp], axis: int) -> Floats:
        # Each row of both is a resample: seeds have the shape (resamples, seeds).
        pairs = zip(np.atleast_2d(seeds), np.atleast_2d(images), strict=True)
        found = np.array([ratio(*pair) for pair in pairs])
        return found if seeds.ndim > 1 else found[0]

    return _bootstrapped(value, (seeds, images), ratios, len(seeds), paired=False)


def _bootstrapped(
    value: float, data: tuple[NDArray[Any], ...], statistic: object, seeds: int, *, paired: bool
) -> Estimate:
    """An estimate with its percentile interval; the same draws every time."""
    with warnings.catch_warnings():
        # Of resamples without a denominator; the interval is then not defined, which is told.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            data,
            statistic,
            paired=paired,
            vectorized=True,
            batch=999,
            n_resamples=RESAMPLES,
            confidence_level=_level(seeds),
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return Estimate(value, float(found.low), float(found.high))


def _level(seeds: int) -> float:
    """The level at which a percentile interval holds about 90 % with so few seeds.

    It reaches as far as Student's interval would (Hesterberg 2015, the expanded percentile
    interval): a bootstrap's standard error is too small by sqrt((m - 1) / m).
    """
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * math.sqrt(seeds / (seeds - 1))
    return float(1 - 2 * stats.norm.sf(reach))
