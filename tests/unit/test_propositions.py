"""Propositions 1 to 3 and Corollary 1 of Lobacheva et al. 2021 against the dynamics they are about.

Weights in float64 take steps of eq. (2), written out here, along gradients that are orthogonal to
them and whose effective norm somebody chooses between l and L: an adversary, chance, or a real
scale-invariant function. Cosine distances and norms are those of the weights.

The propositions leave out small terms. So that they can be refuted without a tolerance, they are
tested at values that make them exact. With T = eta g / ((1 - eta lambda) rho^2), g the effective
gradient norm, a step's cosine distance is 1 - 1 / sqrt(1 + T^2). That lies below T^2 / 2, so a jump
is possible only where (4a) says so for L / (1 - eta lambda). It exceeds delta exactly where
T^2 > delta (2 - delta) / (1 - delta)^2, so that a jump is certain where (4b) says so for
l (1 - delta) / sqrt(1 - delta / 2) / (1 - eta lambda). And (1 - eta lambda)^2 is
1 - 2 eta lambda' with lambda' = lambda (1 - eta lambda / 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perigee.dynamics import jumps, norm

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**31)


def powers_of_ten(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda exponent: float(10**exponent))


# The dynamics


@dataclass(frozen=True)
class Setting:
    """Hyperparameters and bounds of the effective gradient norm.

    Attributes:
        product: eta * lambda.
        kappa: sqrt(eta / (2 lambda)).
        lower, upper: l and L.
    """

    product: float
    kappa: float
    lower: float
    upper: float

    @property
    def rate(self) -> float:
        return self.kappa * math.sqrt(2 * self.product)

    @property
    def decay(self) -> float:
        return self.product / self.rate

    @property
    def exact_decay(self) -> float:
        """lambda'."""
        return self.decay * (1 - self.product / 2)

    @property
    def rest(self) -> tuple[float, float]:
        """rho^2 that stays under (3) while the effective gradient norm is l, or L."""
        scale = math.sqrt(self.rate / (2 * self.exact_decay))
        return scale * self.lower, scale * self.upper


Adversary = Callable[[float], float]
"""A function from rho^2 to the effective gradient norm of the next step."""


def distance_of(setting: Setting, gradient: float, squared_norm: float) -> float:
    tangent = setting.rate * gradient / ((1 - setting.product) * squared_norm)
    root = math.sqrt(1 + tangent**2)
    return tangent**2 / (root * (1 + root))  # 1 - 1 / root, without cancellation


def course(
    setting: Setting, choose: Adversary, squared_norm: float, steps: int, seed: int = 0
) -> tuple[Floats, Floats]:
    """rho^2 before each of these steps, and the step's cosine distance, (steps,) each."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(4)
    weights *= math.sqrt(squared_norm) / math.sqrt(weights @ weights)
    noise = rng.standard_normal((steps, 4))
    norms, distances = np.empty((2, steps))
    for step in range(steps):
        square = float(weights @ weights)
        direction = noise[step] - (noise[step] @ weights) / square * weights
        size = choose(square) / math.sqrt(square)
        gradient = size / math.sqrt(direction @ direction) * direction
        after = (1 - setting.rate * setting.decay) * weights - setting.rate * gradient
        norms[step] = square
        difference = weights / math.sqrt(square) - after / math.sqrt(after @ after)
        distances[step] = difference @ difference / 2
        weights = after
    return norms, distances


def at_random(setting: Setting, seed: int) -> Adversary:
    """Keeps to a bound or to chance for a while, then to another."""
    rng = np.random.default_rng((seed, 1))
    mode, left = 0, 0

    def choose(squared_norm: float) -> float:
        nonlocal mode, left
        if left == 0:
            mode, left = int(rng.integers(3)), int(rng.integers(1, 40))
        left -= 1
        return (setting.lower, setting.upper, float(rng.uniform(setting.lower, setting.upper)))[
            mode
        ]

    return choose


def impatient(setting: Setting, delta: float) -> Adversary:
    """Lets the norm shrink as fast as it can, and jumps as soon as L suffices."""

    def choose(squared_norm: float) -> float:
        can = distance_of(setting, setting.upper, squared_norm) > delta
        return setting.upper if can else setting.lower

    return choose


def reluctant(setting: Setting, delta: float) -> Adversary:
    """Takes the largest gradient that makes no jump, so that the norm shrinks slowly."""

    def choose(squared_norm: float) -> float:
        longest = math.sqrt(delta * (2 - delta)) / (1 - delta) * squared_norm
        just_no_jump = (1 - setting.product) * longest / setting.rate * (1 - 1e-9)
        return min(max(just_no_jump, setting.lower), setting.upper)

    return choose


def adversaries(setting: Setting, delta: float, seed: int) -> list[Adversary]:
    return [
        lambda squared_norm: setting.lower,
        lambda squared_norm: setting.upper,
        at_random(setting, seed),
        impatient(setting, delta),
        reluctant(setting, delta),
    ]


settings_of_runs = st.builds(
    lambda product, kappa, lower, ratio: Setting(product, kappa, lower, lower * ratio),
    product=powers_of_ten(-2.3, -1),
    kappa=powers_of_ten(-2, 2),
    lower=powers_of_ten(-2, 2),
    ratio=st.floats(1, 3),
)


def possible_with(setting: Setting) -> float:
    """L that makes (4a) exact."""
    return setting.upper / (1 - setting.product)


def certain_with(setting: Setting, delta: float) -> float:
    """l that makes (4b) exact."""
    return setting.lower * (1 - delta) / math.sqrt(1 - delta / 2) / (1 - setting.product)


# Proposition 1


@settings(max_examples=100)
@given(
    setting=settings_of_runs,
    delta=powers_of_ten(-6, -0.3),
    nearness=st.floats(-0.5, 0.5),
    share=st.floats(0, 1),
    seed=seeds,
)
def test_a_jump_is_possible_and_certain_where_proposition_1_says(
    setting: Setting, delta: float, nearness: float, share: float, seed: int
) -> None:
    gradient = setting.lower + share * (setting.upper - setting.lower)
    possible = jumps.jump_squared_norm(setting.rate, possible_with(setting), delta)
    certain = jumps.jump_squared_norm(setting.rate, certain_with(setting, delta), delta)
    for edge in (possible, certain):
        squared_norm = edge * 10**nearness
        _, (distance,) = course(setting, lambda _: gradient, squared_norm, 1, seed)
        if distance > delta:
            assert squared_norm <= possible * (1 + 1e-9)
        else:
            assert squared_norm >= certain * (1 - 1e-9)


@settings(max_examples=100)
@given(setting=settings_of_runs, delta=powers_of_ten(-6, -0.3))
def test_proposition_1_cannot_be_sharpened(setting: Setting, delta: float) -> None:
    # Just inside, the bound that is meant makes a jump; just outside, the other way round. (4a) is
    # met only for small delta: the exact edge is lower by 3 delta / 4, and less than delta.
    possible = jumps.jump_squared_norm(setting.rate, possible_with(setting), delta)
    certain = jumps.jump_squared_norm(setting.rate, certain_with(setting, delta), delta)
    _, (distance,) = course(setting, lambda _: setting.upper, possible * (1 - delta), 1)
    assert distance > delta
    _, (distance,) = course(setting, lambda _: setting.lower, certain * (1 + 1e-6), 1)
    assert distance < delta


@given(
    rate=powers_of_ten(-4, 1),
    gradient=powers_of_ten(-3, 3),
    weight_norm=powers_of_ten(-2, 2),
)
def test_the_squared_norm_of_a_jump_inverts_the_bound(
    rate: float, gradient: float, weight_norm: float
) -> None:
    delta = jumps.cosine_distance_bound(rate, gradient, weight_norm)
    found = jumps.jump_squared_norm(rate, gradient, delta)
    assert found == pytest.approx(weight_norm**2, rel=1e-12)
    arrays = jumps.jump_squared_norm(*(np.array([v, v]) for v in (rate, gradient, delta)))
    assert arrays.tolist() == [found, found]


# Proposition 2


@settings(max_examples=60)
@given(
    setting=settings_of_runs,
    start=powers_of_ten(-2, 1),
    part=st.floats(0.02, 0.98),
    seed=seeds,
)
def test_no_jump_comes_before_the_minimal_time(
    setting: Setting, start: float, part: float, seed: int
) -> None:
    upper = possible_with(setting)
    initial = math.sqrt(setting.rate / (2 * setting.decay)) * setting.lower * (1 + start)
    delta = part * setting.product * (upper / setting.lower) ** 2
    assume(delta < 0.9)
    time = jumps.minimal_jump_time(
        setting.rate,
        setting.decay,
        setting.lower,
        upper,
        initial_squared_norm=initial,
        cosine_distance=delta,
    )
    assert time >= 0
    for choose in adversaries(setting, delta, seed):
        _, distances = course(setting, choose, initial, math.ceil(time) + 5, seed)
        made = np.flatnonzero(distances > delta)
        assert not len(made) or made[0] >= time - 1e-6


@settings(max_examples=60)
@given(
    setting=settings_of_runs,
    start=powers_of_ten(-2, 2),
    part=st.floats(0.02, 0.98),
    seed=seeds,
)
def test_a_jump_has_come_by_the_maximal_time(
    setting: Setting, start: float, part: float, seed: int
) -> None:
    # delta has to stay below eta lambda' l'^2 / L^2 with an l' that itself depends on delta.
    delta = part * setting.product * (setting.lower / setting.upper) ** 2 / (1 + setting.product)
    lower = certain_with(setting, delta)
    assume(delta < setting.rate * setting.exact_decay * (lower / setting.upper) ** 2)
    initial = setting.rest[1] * (1 + start)
    time = jumps.maximal_jump_time(
        setting.rate,
        setting.exact_decay,
        lower,
        setting.upper,
        initial_squared_norm=initial,
        cosine_distance=delta,
    )
    assert time >= 0
    for choose in adversaries(setting, delta, seed):
        _, distances = course(setting, choose, initial, math.floor(time) + 2, seed)
        assert (distances > delta).any()


@settings(max_examples=20)
@given(product=powers_of_ten(-3.7, -3.2), kappa=powers_of_ten(-2, 2), ratio=st.floats(1.1, 2))
def test_an_impatient_adversary_nearly_meets_the_minimal_time(
    product: float, kappa: float, ratio: float
) -> None:
    # Near kappa l, where the norm shrinks nearly as fast as the proof allows: x above it by about
    # x / 2 more slowly. And (4a) is right up to eta lambda of rho^2, here a small part of what is
    # left above kappa l.
    setting = Setting(product, kappa, 1.0, ratio)
    squared = kappa * (1 + np.array([0.2, 0.05]))  # from, to
    delta = distance_of(setting, ratio, squared[1])
    time = jumps.minimal_jump_time(
        setting.rate,
        setting.decay,
        1.0,
        ratio,
        initial_squared_norm=squared[0],
        cosine_distance=delta,
    )
    _, distances = course(setting, impatient(setting, delta), squared[0], 3 * math.ceil(time))
    first = np.flatnonzero(distances > delta)[0]
    assert time == pytest.approx(first, rel=0.1)


@settings(max_examples=20)
@given(product=powers_of_ten(-2.7, -2), kappa=powers_of_ten(-2, 2), ratio=st.floats(1, 1.5))
def test_a_reluctant_adversary_nearly_meets_the_maximal_time(
    product: float, kappa: float, ratio: float
) -> None:
    # Far above kappa L, where the gradient hardly slows the norm down.
    setting = Setting(product, kappa, 1.0, ratio)
    squared = kappa * np.array([1e4, 1e3])
    delta = distance_of(setting, 1.0, squared[1])
    time = jumps.maximal_jump_time(
        setting.rate,
        setting.decay,
        1.0,
        ratio,
        initial_squared_norm=squared[0],
        cosine_distance=delta,
    )
    _, distances = course(setting, reluctant(setting, delta), squared[0], 2 * math.ceil(time))
    first = np.flatnonzero(distances > delta)[0]
    assert time == pytest.approx(first, rel=0.02)


USUAL = Setting(product=0.01, kappa=2.0, lower=1.0, upper=1.5)


def times(
    setting: Setting, initial: float, delta_of_minimal: float, delta_of_maximal: float
) -> tuple[float, float]:
    given = (setting.rate, setting.decay, setting.lower, setting.upper)
    return (
        jumps.minimal_jump_time(
            *given, initial_squared_norm=initial, cosine_distance=delta_of_minimal
        ),
        jumps.maximal_jump_time(
            *given, initial_squared_norm=initial, cosine_distance=delta_of_maximal
        ),
    )


def test_the_times_written_out() -> None:
    # eta = 2 sqrt(0.02), kappa l = 2, kappa L = 3. With delta = 0.01, eta / sqrt(2 delta) = 2, so
    # that (4a) says 3 and (4b) 2; a ninth of delta in (4b) gives 6, a quarter 4.
    for factor, edge in ((4, 4.0), (9, 6.0)):
        minimal, maximal = times(USUAL, 10.0, 0.01, 0.01 / factor)
        assert minimal == pytest.approx(math.log(8 / 1) / -math.log(0.96), rel=1e-9)
        assert maximal == pytest.approx(math.log(7 / (edge - 3)) / -math.log(0.98), rel=1e-9)


def test_where_the_times_are_0_or_nothing() -> None:
    no_l = replace(USUAL, lower=0.0)
    limits = 0.01 * 1.5**2, 0.01 / 1.5**2  # of delta: eta lambda L^2 / l^2 and its inverse ratio
    inside = tuple(limit * (1 - 1e-9) for limit in limits)
    outside = tuple(limit * (1 + 1e-9) for limit in limits)
    assert all(math.isfinite(time) for time in times(USUAL, 10.0, *inside))
    assert min(times(USUAL, 10.0, *inside)) > 15 / 0.04  # growing without bound
    assert np.isnan(times(USUAL, 10.0, *outside)).all()
    # rho_0^2 has to lie above kappa l = 2, and above kappa L = 3.
    assert np.isnan(times(USUAL, 2.0, 1e-3, 1e-3)).all()
    minimal, maximal = times(USUAL, 2.5, 1e-3, 1e-3)
    assert minimal == 0  # (4a) says 9.5
    assert math.isnan(maximal)
    assert times(USUAL, 4.0, 1e-3, 1e-3) == (0, 0)  # (4b) says 6.3
    # Without a lower bound a jump may come, but never need come.
    minimal, maximal = times(no_l, 10.0, 0.5, 1e-6)
    assert minimal == pytest.approx(math.log(10 / (3 / math.sqrt(50))) / -math.log(0.96))
    assert math.isnan(maximal)
    # 4 eta lambda and 2 eta lambda have to be below 1.
    for product, defined in ((0.24, (True, True)), (0.26, (False, True)), (0.51, (False, False))):
        fast = replace(USUAL, product=product)
        found = times(fast, 50.0, product, product / 9)
        assert (~np.isnan(found)).tolist() == list(defined)


# Real scale-invariant functions

Gradient = Callable[[Floats], Floats]


def toy_function(rng: np.random.Generator, dimension: int) -> Gradient:
    """The gradient of |first half of x|^2 / |x|^2."""

    def gradient(x: Floats) -> Floats:
        square = x @ x
        first = np.where(np.arange(dimension) < dimension / 2, x, 0)
        return 2 * first / square - 2 * (first @ first) / square**2 * x

    return gradient


def mini_batches(rng: np.random.Generator, dimension: int) -> Gradient:
    """The gradient of a Rayleigh quotient, with another symmetric matrix at every call."""

    def gradient(x: Floats) -> Floats:
        matrix = rng.standard_normal((dimension, dimension))
        matrix += matrix.T + np.diag(np.arange(dimension))
        unit = x / np.sqrt(x @ x)
        image = matrix @ unit
        return 2 * (image - (unit @ image) * unit) / np.sqrt(x @ x)

    return gradient


@dataclass(frozen=True)
class Trajectory:
    """A trajectory of eq. (2): rho^2, cosine distance and bounds of the gradients."""

    setting: Setting
    squared_norms: Floats
    distances: Floats


LONG = 1500
"""Steps, more than ln(rho_0^2 / (tolerance kappa L)) / (2 eta lambda) of what is drawn below."""

OFTEN_FILTERED = [HealthCheck.filter_too_much]
"""A proposition's premise can be checked only after the trajectory has been computed."""


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    rng = np.random.default_rng(draw(seeds))
    function, dimension = draw(
        st.tuples(st.just(toy_function), st.integers(2, 12))
        | st.tuples(st.just(mini_batches), st.integers(6, 12))
    )
    gradient = function(rng, dimension)
    product, kappa = draw(powers_of_ten(-2, -1.3)), draw(powers_of_ten(-1, 1))
    rate = kappa * math.sqrt(2 * product)
    x = rng.standard_normal(dimension)
    x *= math.sqrt(kappa * draw(powers_of_ten(1, 3))) / math.sqrt(x @ x)
    rows = []
    for _ in range(LONG):
        slope = gradient(x)
        after = (1 - product) * x - rate * slope
        difference = x / math.sqrt(x @ x) - after / math.sqrt(after @ after)
        effective = math.sqrt((x @ x) * (slope @ slope))
        rows.append((x @ x, effective, difference @ difference / 2))
        x = after
    squared_norms, gradients, distances = np.array(rows).T
    setting = Setting(product, kappa, float(gradients.min()), float(gradients.max()))
    return Trajectory(setting, squared_norms, distances)


@settings(max_examples=40)
@given(run=trajectories(), part=st.floats(0.1, 0.9))
def test_proposition_1_holds_for_scale_invariant_functions(run: Trajectory, part: float) -> None:
    delta = float(np.quantile(run.distances, part))
    assume(1e-12 < delta < 1)
    rate, made = run.setting.rate, run.distances > delta
    possible = jumps.jump_squared_norm(rate, possible_with(run.setting), delta)
    certain = jumps.jump_squared_norm(rate, certain_with(run.setting, delta), delta)
    assert (run.squared_norms[made] <= possible * (1 + 1e-6)).all()
    assert (run.squared_norms[~made] >= certain * (1 - 1e-6)).all()


@settings(max_examples=40, suppress_health_check=OFTEN_FILTERED)
@given(run=trajectories(), part=st.floats(0.01, 0.9))
def test_proposition_2_holds_for_scale_invariant_functions(run: Trajectory, part: float) -> None:
    setting, initial = run.setting, float(run.squared_norms[0])
    assume(initial > setting.rest[1] and setting.lower > 1e-3)
    delta = part * setting.product * (setting.lower / setting.upper) ** 2 / (1 + setting.product)
    made = np.flatnonzero(run.distances > delta)
    minimal = jumps.minimal_jump_time(
        setting.rate,
        setting.decay,
        setting.lower,
        possible_with(setting),
        initial_squared_norm=initial,
        cosine_distance=delta,
    )
    maximal = jumps.maximal_jump_time(
        setting.rate,
        setting.exact_decay,
        certain_with(setting, delta),
        setting.upper,
        initial_squared_norm=initial,
        cosine_distance=delta,
    )
    assert maximal < len(run.distances) - 1
    assert minimal - 1e-6 <= made[0] <= math.floor(maximal) + 1


@settings(max_examples=40, suppress_health_check=OFTEN_FILTERED)
@given(run=trajectories(), tolerance=powers_of_ten(-2, 0))
def test_proposition_3_holds_for_scale_invariant_functions(
    run: Trajectory, tolerance: float
) -> None:
    setting, initial = run.setting, float(run.squared_norms[0])
    # So that it stays inside to the letter: 2 eta lambda (l + L) <= l.
    assume(2 * setting.product * (setting.lower + setting.upper) <= setting.lower)
    assume(initial > setting.rest[1])
    time = norm.settling_time(
        setting.rate,
        setting.exact_decay,
        setting.upper,
        initial_squared_norm=initial,
        tolerance=tolerance,
    )
    late = run.squared_norms[math.ceil(time) :]
    assert len(late)
    assert late.max() <= (1 + tolerance) * setting.rest[1] * (1 + 1e-9)
    assert late.min() >= setting.rest[0] * (1 - 1e-9)


# Corollary 1


@settings(max_examples=100)
@given(
    product=powers_of_ten(-4, -2),
    factor=st.floats(1.01, 20),
    split=powers_of_ten(-2, 2),
    ratio=st.floats(1.01, 3),
    start=powers_of_ten(0, 2),
    part=st.floats(0.01, 0.5),
)
def test_times_are_inversely_proportional_to_the_product(
    product: float, factor: float, split: float, ratio: float, start: float, part: float
) -> None:
    # With delta in a fixed proportion to eta lambda, and rho_0^2 to kappa, the logarithms of (5)
    # and (6) stay the same, however eta and lambda share the product: times are to each other as
    # the logarithms of 1 - 4 eta lambda, or of 1 - 2 eta lambda. So k times the product makes them
    # shorter by k or more, by at most k / (1 - 4 k eta lambda).
    def both(product: float, kappa: float, delta_factor: float) -> Floats:
        setting = Setting(product, kappa, 1.0, ratio)
        deltas = part * product * ratio**2, part * product / ratio**2
        return np.array(
            times(setting, kappa * ratio * (1 + start), *(d * delta_factor for d in deltas))
        )

    slow = both(product, 1.0, 1.0)
    assume((slow > 0).all() and 4 * factor * product < 1)
    fast = both(factor * product, split, 1.0)
    quotients = fast / slow * factor
    assert (quotients <= 1 + 1e-9).all()
    assert (quotients >= (1 - np.array([4, 2]) * factor * product) * (1 - 1e-9)).all()
    # With the same delta as before jumps come even sooner.
    sooner = both(factor * product, split, 1 / factor)
    assert (sooner <= fast * (1 + 1e-9)).all()


@settings(max_examples=20)
@given(factor=st.floats(2, 8), ratio=st.floats(1.2, 3), seed=seeds)
@example(factor=2.0, ratio=2.9140625, seed=96)
def test_the_dynamics_jump_as_much_sooner(factor: float, ratio: float, seed: int) -> None:
    # The same course of effective gradients in rescaled time, eta lambda being small.
    levels = np.random.default_rng(seed).uniform(1, ratio, 7)

    def first_jumps(product: float, *parts: float) -> list[int]:
        """The first step that is larger than each of these parts of eta lambda."""
        setting = Setting(product, 1.0, 1.0, ratio)
        clock = 0

        def choose(squared_norm: float) -> float:
            nonlocal clock
            clock += 1
            return float(levels[int(clock * product * 10) % len(levels)])

        steps = math.ceil(3 / product)
        _, distances = course(setting, choose, 20 * ratio, steps, seed)
        return [int(np.flatnonzero(distances > part * product)[0]) for part in parts]

    # A level may end just as its steps reach the limit; then a limit 5 % off tells much earlier.
    part = 0.5 / ratio**2
    early, late = first_jumps(0.001, 0.95 * part, 1.05 * part)
    (fast,) = first_jumps(0.001 * factor, part)
    assert 0.95 * early <= fast * factor <= 1.05 * late


# Proposition 3


bounded = st.builds(
    lambda product, kappa, lower, ratio, slack: Setting(
        product * slack, kappa, lower, lower * ratio
    ),
    product=powers_of_ten(-1.5, -0.7),
    kappa=powers_of_ten(-2, 2),
    lower=powers_of_ten(-2, 2),
    ratio=st.floats(1, 10),
    slack=st.floats(0.3, 1),
)


def alternating(setting: Setting) -> Adversary:
    """l until rho^2 is all but at its lowest, then L once."""

    def choose(squared_norm: float) -> float:
        low = squared_norm <= setting.rest[0] * (1 + 1e-4)
        return setting.upper if low else setting.lower

    return choose


@settings(max_examples=30)
@given(setting=bounded, start=powers_of_ten(-2, 2), seed=seeds)
def test_the_squared_norm_settles_in_the_interval(
    setting: Setting, start: float, seed: int
) -> None:
    given = (setting.rate, setting.decay)
    assume(norm.settles_between(*given, setting.lower, setting.upper))
    ends = [
        norm.equilibrium_squared_norm(setting.rate, setting.exact_decay, bound)
        for bound in (setting.lower, setting.upper)
    ]
    # 2 eta lambda (l + L) <= l keeps it inside for good; the paper's 2 eta lambda L <= l up to
    # a factor 1 + 2 eta lambda.
    strict = 2 * setting.product * (setting.lower + setting.upper) <= setting.lower
    above = 1 if strict else 1 + 2 * setting.product
    steps = 200 + math.ceil(12 / setting.product)
    for choose in (*adversaries(setting, 0.5, seed), alternating(setting)):
        squared_norms, _ = course(setting, choose, ends[1] * start, steps, seed)
        late = squared_norms[-200:]
        assert late.min() >= ends[0] * (1 - 1e-6)
        assert late.max() <= ends[1] * above * (1 + 1e-6)


@settings(max_examples=40)
@given(product=powers_of_ten(-2.5, -1.3), excess=st.floats(1.2, 5), kappa=powers_of_ten(-2, 2))
def test_without_its_condition_the_interval_can_be_left(
    product: float, excess: float, kappa: float
) -> None:
    setting = Setting(product, kappa, 2 * product / excess, 1.0)
    assert not norm.settles_between(setting.rate, setting.decay, setting.lower, setting.upper)
    # From its lower end, which rho^2 comes near to while the gradient is l, a step with L.
    (_, after), _ = course(setting, lambda _: setting.upper, setting.rest[0], 2)
    assert after > setting.rest[1] * (1 + 2 * product) * 1.01


@given(rate=powers_of_ten(-3, 0), decay=powers_of_ten(-3, -1), upper=powers_of_ten(-2, 2))
def test_the_condition_is_met_up_to_its_edge(rate: float, decay: float, upper: float) -> None:
    edge = 2 * rate * decay * upper
    assert norm.settles_between(rate, decay, edge * (1 + 1e-12), upper)
    assert not norm.settles_between(rate, decay, edge * (1 - 1e-12), upper)


@settings(max_examples=50)
@given(setting=bounded, start=powers_of_ten(-1, 3), tolerance=powers_of_ten(-3, 0), seed=seeds)
def test_from_above_it_arrives_within_the_settling_time(
    setting: Setting, start: float, tolerance: float, seed: int
) -> None:
    assume(2 * setting.product * (setting.lower + setting.upper) <= setting.lower)
    initial = setting.rest[1] * (1 + start)
    time = norm.settling_time(
        setting.rate,
        setting.exact_decay,
        setting.upper,
        initial_squared_norm=initial,
        tolerance=tolerance,
    )
    for choose in adversaries(setting, 0.5, seed):
        squared_norms, _ = course(setting, choose, initial, math.ceil(time) + 20, seed)
        late = squared_norms[math.ceil(time) :]
        assert (late <= (1 + tolerance) * setting.rest[1] * (1 + 1e-9)).all()


def test_the_settling_time_written_out() -> None:
    # kappa = 2: from 20, that is 17 above kappa L = 3, to 10 % above.
    time = norm.settling_time(0.2, 0.025, 1.5, initial_squared_norm=20.0, tolerance=0.1)
    assert time == pytest.approx(math.log(17 / 0.3) / -math.log(0.99), rel=1e-12)
    assert norm.settling_time(0.2, 0.025, 1.5, initial_squared_norm=3.3, tolerance=0.1) <= 1e-9
    assert norm.settling_time(0.2, 0.025, 1.5, initial_squared_norm=1.0, tolerance=0.1) == 0
    # In inverse proportion to eta lambda, kappa being the same.
    slower = norm.settling_time(0.02, 0.0025, 1.5, initial_squared_norm=20.0, tolerance=0.1)
    assert slower == pytest.approx(100 * time, rel=0.01)
    assert math.isnan(norm.settling_time(1.0, 0.5, 1.0, initial_squared_norm=9.0, tolerance=0.1))
