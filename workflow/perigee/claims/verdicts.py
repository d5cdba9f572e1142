"""From one number a seed to a verdict, by the kind of a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perigee.claims.columns import Ratio
from perigee.claims.inference import (
    FEWEST_SEEDS,
    PROOF,
    Estimate,
    chance_above_half,
    mean_interval,
    pooled_interval,
    rate_interval,
    two_way_interval,
)
from perigee.claims.outcomes import (
    CONTRADICTED,
    HOLDS,
    INCONCLUSIVE,
    NOTHING,
    REPRODUCED,
    VIOLATED,
)
from perigee.claims.relations import RELATIONS
from perigee.spec import Claim

NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Finding:
    """The outcome of a claim on the seeds that were measured.

    Attributes:
        verdict: one of `perigee.claims.outcomes`.
        estimate: the median of the seeds' numbers, or their mean or pooled ratio; NaN if nothing
            was measured.
        low, high: the 90 % interval, for a rate that of the chance that a fresh seed fulfils the
            rule; NaN where there is none.
        fulfilled: the seeds whose own number fulfils the rule.
        measured: the seeds that were measured.
    """

    verdict: str
    estimate: float
    low: float
    high: float
    fulfilled: int
    measured: int


def fulfils(claim: Claim, value: float) -> bool:
    """Return whether a seed's number fulfils the rule; NaN does not."""
    if claim.margin is not None:
        low, high = _region(claim)
        is_inside = low <= value <= high
        is_outside = value < low or value > high
        return is_outside if claim.relation == "different_from" else is_inside
    return bool(RELATIONS[claim.relation](value, claim.bound))


def judge(
    claim: Claim,
    numbers: Sequence[float | Ratio],
    shared: Sequence[tuple[pd.Series, ...]] = (),
) -> Finding:
    """Judge a claim on one number a seed.

    Args:
        claim: the rule.
        numbers: those of the seeds that meet the premise. One that is NaN is missing: it counts
            neither for nor against the claim.
        shared: of a claim with ``shared`` the means that make each number, see
            `perigee.claims.columns.by_shared`.
    """
    values = {position: value_of(number) for position, number in enumerate(numbers)}
    measured = [position for position, one in enumerate(numbers) if is_measured(claim, one)]
    found = np.array([values[position] for position in measured])
    fulfilled = sum(fulfils(claim, value) for value in found)
    counts = fulfilled, len(measured)
    if not measured:
        return Finding(NOTHING, *NO_ESTIMATE, *counts)
    if claim.kind == "identity":
        verdict = HOLDS if fulfilled == len(measured) else VIOLATED
        return Finding(verdict, float(np.median(found)), math.nan, math.nan, *counts)
    if is_rate(claim):
        _, low, high = rate_interval(*counts)
        return Finding(verdict_of_rate(*counts), float(np.median(found)), low, high, *counts)
    if claim.shared is not None:
        parts = zip(*(shared[position] for position in measured), strict=True)
        estimate = two_way_interval(*(pd.concat(part, axis=1).to_numpy().T for part in parts))
    elif claim.pooled:
        estimate = pooled_interval(*zip(*(numbers[one] for one in measured), strict=True))
    elif claim.quantity.averages_logarithm:
        estimate = Estimate(*np.exp(mean_interval(np.log(found))).tolist())
    else:
        estimate = mean_interval(found)
    return Finding(_of_interval(claim, estimate, len(measured)), *estimate, *counts)


def value_of(number: float | Ratio) -> float:
    """A seed's number as one value."""
    return number.value if isinstance(number, Ratio) else float(number)


def is_measured(claim: Claim, number: float | Ratio) -> bool:
    """Return whether a seed has a number that the claim's kind can use.

    Means need finite numbers, and means of logarithms positive ones; a pooled ratio may have the
    denominator 0 in some seeds.
    """
    value = value_of(number)
    if claim.kind == "identity" or is_rate(claim):
        return not math.isnan(value)
    if claim.pooled:
        return isinstance(number, Ratio) and all(map(math.isfinite, number))
    return math.isfinite(value) and (value > 0 or not claim.quantity.averages_logarithm)


def is_rate(claim: Claim) -> bool:
    """True if seeds are counted: a rate, and the trend of ranks, of which the sign is meant."""
    if claim.kind == "trend":
        return claim.within_seed != "log_slope"
    return claim.kind == "rate"


def verdict_of_rate(fulfilled: int, measured: int) -> str:
    """The verdict on a rate, from the seeds that fulfil the rule and those that were measured."""
    chance = chance_above_half(fulfilled, measured)
    if measured < FEWEST_SEEDS:
        return INCONCLUSIVE
    if chance >= PROOF:
        return REPRODUCED
    return CONTRADICTED if chance <= 1 - PROOF else INCONCLUSIVE


def _of_interval(claim: Claim, estimate: Estimate, measured: int) -> str:
    """The verdict by whether the whole interval lies inside or outside the expected region.

    For a margin this is the test of equivalence by two one-sided tests. That of a difference is its
    mirror image: an interval that reaches across the margin says nothing, on whichever side its
    ends are.
    """
    ends = estimate.low, estimate.high
    if measured < FEWEST_SEEDS or not all(map(math.isfinite, ends)):
        return INCONCLUSIVE
    if claim.margin is None:
        fulfilled = [fulfils(claim, end) for end in ends]
        is_inside, is_outside = all(fulfilled), not any(fulfilled)
    else:
        low, high = _region(claim)
        is_inside = low <= estimate.low and estimate.high <= high
        is_outside = estimate.high < low or estimate.low > high
        if claim.relation == "different_from":
            is_inside, is_outside = is_outside, is_inside
    if is_inside:
        return REPRODUCED
    return CONTRADICTED if is_outside else INCONCLUSIVE


def _region(claim: Claim) -> tuple[float, float]:
    """The region that counts as equal: the bound ± the margin, which for a ratio is a factor."""
    assert claim.margin is not None
    if claim.quantity.averages_logarithm:
        return claim.bound / claim.margin, claim.bound * claim.margin
    return claim.bound - claim.margin, claim.bound + claim.margin
