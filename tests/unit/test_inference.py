"""perigee.claims.inference: intervals over seeds, against independent computations."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from perigee.claims import inference
from perigee.claims.inference import (
    CONFIDENCE,
    PROOF,
    chance_above_half,
    mean_interval,
    pooled_interval,
    rate_interval,
    two_way_interval,
)

counts = st.integers(1, 40).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m)))
numbers = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


# Rates


def posterior(p: float, fulfilled: int, measured: int) -> float:
    """The likelihood of p with Jeffreys' prior, not normalised."""
    return float(p ** (fulfilled - 0.5) * (1 - p) ** (measured - fulfilled - 0.5))


@pytest.mark.parametrize(("fulfilled", "measured"), [(2, 2), (2, 3), (3, 3), (5, 6), (7, 10)])
def test_the_chance_is_an_integral_of_the_posterior(fulfilled: int, measured: int) -> None:
    given_counts = (fulfilled, measured)
    upper, lower = (
        integrate.quad(posterior, *ends, args=given_counts, limit=200)[0]
        for ends in ((0.5, 1), (0, 0.5))
    )
    assert chance_above_half(*given_counts) == pytest.approx(upper / (upper + lower), abs=1e-6)


def test_fewest_seeds_that_reproduce_a_rate() -> None:
    """The fewest of m seeds that suffice, as the design of the verdicts lists them."""
    fewest = {
        m: next((k for k in range(m + 1) if chance_above_half(k, m) >= PROOF), None)
        for m in (1, 2, 3, 4, 5, 6, 7, 8, 10)
    }
    assert fewest == {1: None, 2: None, 3: 3, 4: 4, 5: 5, 6: 5, 7: 6, 8: 7, 10: 8}
    assert chance_above_half(15, 20) >= PROOF
    assert chance_above_half(2, 2) == pytest.approx(0.92, abs=0.005)


def chance_of_reproducing(seeds: int, p: Fraction) -> float:
    """The probability of a sufficient number of seeds, by adding up the binomial distribution."""
    return float(
        sum(
            math.comb(seeds, k) * p**k * (1 - p) ** (seeds - k)
            for k in range(seeds + 1)
            if chance_above_half(k, seeds) >= PROOF
        )
    )


@pytest.mark.parametrize(
    ("seeds", "power", "mistake"),
    [
        (3, 0.73, 0.125),
        (5, 0.59, 0.03),
        (6, 0.89, 0.11),
        (8, 0.81, 0.035),
        (10, 0.93, 0.055),
    ],
)
def test_how_often_a_rate_is_found_rightly_and_wrongly(
    seeds: int, power: float, mistake: float
) -> None:
    assert chance_of_reproducing(seeds, Fraction(9, 10)) == pytest.approx(power, abs=0.005)
    assert chance_of_reproducing(seeds, Fraction(1, 2)) == pytest.approx(mistake, abs=0.005)


@given(counts)
def test_the_rates_interval_and_its_chance_agree(given_counts: tuple[int, int]) -> None:
    """The lower end is above 1/2 exactly where a rate above 1/2 is proven."""
    fulfilled, measured = given_counts
    share, low, high = rate_interval(fulfilled, measured)
    assert 0 <= low <= share <= high <= 1
    assert share == fulfilled / measured
    chance = chance_above_half(fulfilled, measured)
    assert (low > 0.5) == (chance > PROOF)
    assert (high < 0.5) == (chance < 1 - PROOF)
    mirrored = rate_interval(measured - fulfilled, measured)
    assert mirrored.low == pytest.approx(1 - high)
    assert chance + chance_above_half(measured - fulfilled, measured) == pytest.approx(1)


def test_the_rates_interval_reaches_to_the_ends() -> None:
    assert rate_interval(3, 3) == (1, pytest.approx(0.556, abs=1e-3), 1)
    assert rate_interval(0, 3) == (0, 0, pytest.approx(0.444, abs=1e-3))


# Means


def test_the_means_interval_written_out() -> None:
    # t(0.95, 2) = 2.919986; the standard deviation of 1, 2, 6 is sqrt(7).
    value, low, high = mean_interval([1, 2, 6])
    reach = 2.919986 * math.sqrt(7 / 3)
    assert (value, low, high) == (3, pytest.approx(3 - reach), pytest.approx(3 + reach))


@given(numbers, st.floats(-100, 100))
def test_each_end_of_the_interval_is_a_test_at_5_percent(values: list[float], bound: float) -> None:
    if np.std(values) < 1e-3:
        return
    _, low, high = mean_interval(values)
    if min(abs(low - bound), abs(high - bound)) < 1e-6:
        return
    above, below = (
        stats.ttest_1samp(values, bound, alternative=side).pvalue for side in ("greater", "less")
    )
    assert (low > bound) == (above < (1 - CONFIDENCE) / 2)
    assert (high < bound) == (below < (1 - CONFIDENCE) / 2)


def test_one_seed_has_no_interval_and_equal_ones_a_point() -> None:
    assert mean_interval([4.0]).value == 4
    assert math.isnan(mean_interval([4.0]).low)
    assert mean_interval([4.0] * 3) == (4, 4, 4)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [mean_interval(rng.normal(2, 3, size=4)) for _ in range(2000)]
    covered = np.mean([low <= 2 <= high for _, low, high in found])
    assert covered == pytest.approx(CONFIDENCE, abs=0.02)


# Pooled ratios


def test_a_pooled_ratio_is_that_of_the_sums() -> None:
    above, below = [1.0, 9.0, 2.0, 3.0], [2.0, 10.0, 2.0, 6.0]
    value, low, high = pooled_interval(above, below)
    assert value == 15 / 20
    assert 0.5 <= low < value < high <= 1
    assert pooled_interval(above, below) == (value, low, high), "the same draws every time"


@given(st.integers(3, 8), st.floats(0.1, 10))
def test_one_ratio_in_every_seed_leaves_no_doubt(seeds: int, ratio: float) -> None:
    below = np.arange(1.0, seeds + 1)
    found = pooled_interval(ratio * below, below)
    assert found == pytest.approx((ratio, ratio, ratio))


def test_a_seed_without_a_gain_counts_in_a_pooled_ratio() -> None:
    value, low, high = pooled_interval([1.0, 0.0, 1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 2.0, 1, 1, 1])
    assert value == pytest.approx(5 / 6)
    assert not math.isfinite(low + high) or low <= value <= high


@pytest.mark.parametrize(
    ("above", "below"), [([1.0, 2.0], [0.0, 0.0]), ([1.0, 2.0], [-3.0, 1.0]), ([1.0], [2.0])]
)
def test_a_pooled_ratio_to_nothing_or_of_one_seed_has_no_interval(
    above: list[float], below: list[float]
) -> None:
    _, low, high = pooled_interval(above, below)
    assert math.isnan(low)
    assert math.isnan(high)


def test_the_pooled_interval_of_few_seeds_is_not_too_narrow() -> None:
    """The plain percentile interval of 5 seeds covers 80 % or so; this one about what it says."""
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(150):
        below = rng.uniform(1, 2, size=5)
        _, low, high = pooled_interval(below * rng.normal(1, 0.3, size=5), below)
        covered.append(low <= 1 <= high)
    assert np.mean(covered) >= 0.84


# Images


def test_images_that_differ_widen_the_interval() -> None:
    """Seeds that agree on every image say nothing of other images."""
    image = np.random.default_rng(3).integers(0, 2, size=200).astype(float)
    alike = np.tile(image, (6, 1))
    value, low, high = two_way_interval(alike)
    assert value == image.mean()
    # The standard error over images is 0.035, and 1.645 of them 0.058.
    assert high - low >= 2 * 0.05
    _, *ends = mean_interval(alike.mean(axis=1))
    assert ends == [pytest.approx(value), pytest.approx(value)]


def test_seeds_that_differ_widen_it_too() -> None:
    by_seed = np.repeat([[0.0], [0.1], [0.2], [0.3]], 50, axis=1)
    value, low, high = two_way_interval(by_seed)
    assert value == pytest.approx(0.15)
    assert low < 0.1
    assert high > 0.2
    assert math.isnan(two_way_interval(by_seed[:1]).low)


def test_the_interval_is_that_of_the_two_sums_of_squares() -> None:
    """The variance of the mean is known of numbers that are a seed's part plus an image's."""
    rng = np.random.default_rng(0)
    of_seed, of_image = rng.normal(0, 0.3, size=(24, 1)), rng.normal(0, 1, size=(1, 150))
    value, low, high = two_way_interval(of_seed + of_image)
    error = math.sqrt(of_seed.var(ddof=1) / 24 + of_image.var() / 150)
    assert value == pytest.approx(of_seed.mean() + of_image.mean())
    reach = stats.t.ppf(0.95, 23) * error
    assert (low, high) == pytest.approx((value - reach, value + reach), abs=0.1 * reach)


def test_it_covers_the_mean_of_fresh_seeds_and_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "RESAMPLES", 499)
    rng = np.random.default_rng(1)
    covered = alone = 0
    for _ in range(150):
        of_image = rng.exponential(1, size=(1, 40))
        table = rng.normal(1, 0.1, size=(5, 1)) + of_image + rng.normal(0, 0.3, size=(5, 40))
        _, low, high = two_way_interval(table)
        covered += low <= 2 <= high
        _, low, high = mean_interval(table.mean(axis=1))
        alone += low <= 2 <= high
    assert covered / 150 >= 0.84
    assert alone / 150 <= 0.75, "seeds alone say nothing of other images"


def test_a_ratio_of_sums_over_seeds_and_images() -> None:
    rng = np.random.default_rng(2)
    below = rng.uniform(0.5, 1.5, size=(6, 80))
    above = 0.4 * below
    assert two_way_interval(above, below) == pytest.approx((0.4, 0.4, 0.4))
    above = rng.uniform(0, 1, size=(6, 80))
    value, low, high = two_way_interval(above, below)
    assert value == pytest.approx(above.sum() / below.sum())
    assert low < value < high
    # With a constant denominator it is the mean's interval, scaled; units do not matter.
    assert two_way_interval(above, np.full_like(above, 2.0)) == pytest.approx(
        tuple(end / 2 for end in two_way_interval(above))
    )
    assert two_way_interval(3 * above, 3 * below) == pytest.approx((value, low, high))


def test_a_ratio_to_nothing_has_no_interval() -> None:
    above = np.ones((4, 10))
    assert all(map(math.isnan, two_way_interval(above, 0 * above)))
    below = np.tile([[1.0], [-2.0], [3.0], [-1.0]], (1, 10))
    value, low, high = two_way_interval(above, below)
    assert value == 4
    assert math.isnan(low)
    assert math.isnan(high)
