"""The theorems on equilibrium against a process that meets their assumptions.

Its unit gradients are random, orthogonal to the weights, and independent from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.dynamics import equilibrium

REPLICAS, DIMENSIONS = 48, 96
RULES = [(0.5, 1e-3, 0.0), (0.05, 0.01, 0.0), (0.05, 1e-3, 0.9), (0.2, 5e-4, 0.8)]
"""Learning rate, weight decay and momentum."""


class Process:
    """Replicas of a scale-invariant tensor under eqs. (10) and (11)."""

    def __init__(self, norm: float, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        directions = self.random.standard_normal((REPLICAS, DIMENSIONS))
        self.weights = norm * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self.velocity = np.zeros_like(self.weights)

    def steps(
        self, count: int, learning_rate: float, weight_decay: float, momentum: float, size: float
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield norms before a step and its angles; ``size`` is the mean squared unit gradient."""
        for _ in range(count):
            weights = self.weights
            norm = np.linalg.norm(weights, axis=1, keepdims=True)
            unit = weights / norm
            gradient = self.random.standard_normal(weights.shape)
            gradient -= (gradient * unit).sum(axis=1, keepdims=True) * unit
            gradient *= math.sqrt(size / (DIMENSIONS - 1)) / norm
            self.velocity = momentum * self.velocity + gradient + weight_decay * weights
            self.weights = weights - learning_rate * self.velocity
            after = np.linalg.norm(self.weights, axis=1, keepdims=True)
            chord = np.linalg.norm(self.weights / after - unit, axis=1)
            yield norm[:, 0], 2 * np.arcsin(chord / 2)


@pytest.mark.parametrize(("learning_rate", "weight_decay", "momentum"), RULES)
@pytest.mark.parametrize("start", [0.7, 1.4])
def test_norm_and_angle_come_to_the_theorems_values(
    learning_rate: float, weight_decay: float, momentum: float, start: float
) -> None:
    rule, size = (learning_rate, weight_decay, momentum), 3.0
    norm = equilibrium.equilibrium_norm(learning_rate, weight_decay, size, momentum)
    process = Process(start * norm, seed=1)
    relaxation = math.ceil(1 / equilibrium.approach_rate(*rule))
    for _ in process.steps(4 * relaxation, *rule, size):
        pass
    norms, angles = zip(*process.steps(relaxation, *rule, size), strict=True)
    assert np.mean(np.square(norms)) == pytest.approx(norm**2, rel=0.01)
    expected = equilibrium.equilibrium_angular_update(*rule)
    assert np.sqrt(np.mean(np.square(angles))) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("learning_rate", "weight_decay", "momentum"), RULES)
def test_the_rate_is_that_at_which_the_squared_error_vanishes(
    learning_rate: float, weight_decay: float, momentum: float
) -> None:
    """Close to the equilibrium ||w||^2 - (w*)^2 shrinks at least as fast as eqs. (8), (12) say.

    By eqs. (10) and (11) to first order, ||w||^4 - (w*)^4 shrinks by 4 lambda eta / (1 - alpha),
    so the squared error does by twice that, and the theorems' bound holds.
    """
    rule, size = (learning_rate, weight_decay, momentum), 3.0
    norm = equilibrium.equilibrium_norm(learning_rate, weight_decay, size, momentum)
    rate = equilibrium.approach_rate(*rule)
    process = Process(1.2 * norm, seed=2)
    fourths = [
        np.mean(norms**4) / norm**4 - 1
        for norms, _ in process.steps(math.ceil(0.5 / rate), *rule, size)
    ]
    begin, end = math.ceil(0.1 / rate), len(fourths) - 1
    measured = math.log(fourths[begin] / fourths[end]) / (end - begin)
    assert measured == pytest.approx(2 * rate, rel=0.1)


@pytest.mark.parametrize(
    ("learning_rate", "weight_decay", "momentum"), [(0.05, 0.01, 0.0), (0.01, 5e-3, 0.9)]
)
def test_the_course_after_a_decay(
    learning_rate: float, weight_decay: float, momentum: float
) -> None:
    """The learning rate is the one before a decay by ten."""
    before, after = ((rate, weight_decay, momentum) for rate in (learning_rate, learning_rate / 10))
    size, factor = 2.0, 10.0
    norm = equilibrium.equilibrium_norm(learning_rate, weight_decay, size, momentum)
    process = Process(norm, seed=3)
    for _ in process.steps(math.ceil(1 / equilibrium.approach_rate(*before)), *before, size):
        pass
    count = equilibrium.steps_to_new_equilibrium(factor, *after)
    squares = [np.mean(angles**2) for _, angles in process.steps(count, *after, size)]
    window = count // 50
    means = np.sqrt(np.convolve(squares, np.ones(window) / window, mode="valid"))
    steps = np.arange(len(means)) + (window - 1) / 2
    expected = equilibrium.angular_update_after_decay(steps, factor, *after)
    np.testing.assert_allclose(means, expected, rtol=0.015)
    settled = equilibrium.equilibrium_angular_update(*after)
    assert means[-1] / settled == pytest.approx((1 + 9 / 100) ** -0.5, abs=0.01)
    assert means[0] / settled == pytest.approx(10**-0.5, abs=0.01)


def test_dividing_the_norm_skips_the_way_to_the_new_equilibrium() -> None:
    """Section 4.2: the norm divided by the fourth root of k."""
    for momentum in (0.0, 0.9):
        old, new = (equilibrium.equilibrium_norm(rate, 1e-3, 5.0, momentum) for rate in (0.1, 0.01))
        assert old / new == pytest.approx(10**0.25, rel=1e-4)


def test_the_variance_is_within_its_bound() -> None:
    learning_rate, weight_decay, size = 0.05, 0.01, 3.0
    norm = equilibrium.equilibrium_norm(learning_rate, weight_decay, size)
    process = Process(norm, seed=4)
    squares = []
    for norms, _ in process.steps(6000, learning_rate, weight_decay, 0.0, size):
        squares.append(norms**2)
    measured = np.mean((np.array(squares[2000:]) - norm**2) ** 2) / norm**4
    # The squared norm of a unit gradient is size times a chi square over its degrees of freedom.
    variance = 2 * size**2 / (DIMENSIONS - 1)
    least = 0.4 * size
    bound = equilibrium.relative_variance_bound(learning_rate, weight_decay, size, least, variance)
    assert 0.01 * bound < measured < bound


@given(st.floats(1e-4, 1.0), st.floats(1e-5, 1e-2), st.floats(0.0, 0.95), st.floats(1.1, 100.0))
def test_a_decay_begins_below_and_ends_at_the_equilibrium(
    learning_rate: float, weight_decay: float, momentum: float, factor: float
) -> None:
    rule = (learning_rate, weight_decay, momentum)
    steps = np.array([0, 1e3, 1e12])
    course = equilibrium.angular_update_after_decay(steps, factor, *rule)
    settled = equilibrium.equilibrium_angular_update(*rule)
    assert course[0] == pytest.approx(settled / math.sqrt(factor))
    assert course[-1] == pytest.approx(settled)
    assert (np.diff(course) >= 0).all()


def test_bounds_of_the_assumptions() -> None:
    """Numbers worked out by hand from the assumptions as they are printed."""
    assert equilibrium.largest_decay(0.9) == pytest.approx(2.633e-3, rel=1e-3)
    assert equilibrium.largest_decay(0.0) == 1
    # (0.1)^3 * 1.9 - 8 * 1e-4 * 0.1 = 0.00182; 2 (6e-4 / 0.00182)^2
    assert equilibrium.least_unit_gradient(0.1, 1e-3, 0.9) == pytest.approx(0.21737, rel=1e-4)
    assert equilibrium.least_unit_gradient(0.1, 0.01, 0.0) == pytest.approx(8.032e-6, rel=1e-3)
    assert equilibrium.least_unit_gradient(0.5, 5e-3, 0.9) == math.inf
    assert equilibrium.largest_drift(0.1, 1e-3, 4.0) == pytest.approx(8e-6)
    assert equilibrium.steps_to_new_equilibrium(10, 0.02, 0.005, 0.9) == 1152
