"""perigee.dynamics.groups and Proposition 1 against steps taken by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perigee.dynamics.groups import (
    next_individual_effective_learning_rates,
    total_effective_learning_rate,
    total_squared_effective_step_size,
)
from perigee.dynamics.toy import stable_value

Floats = NDArray[np.float64]
dimensions = st.lists(st.integers(2, 6), min_size=1, max_size=5)
seeds = st.integers(0, 2**31)
learning_rates = st.floats(1e-3, 10)
norms = st.floats(0.1, 10)


def groups_of(dimensions: list[int], norm: float, seed: int) -> tuple[list[Floats], list[Floats]]:
    """Weights of this total norm, and gradients that are orthogonal to them group by group."""
    rng = np.random.default_rng(seed)
    weights = [rng.uniform(0.2, 2) * rng.standard_normal(n) for n in dimensions]
    scale = norm / math.sqrt(sum(float(w @ w) for w in weights))
    weights = [scale * w for w in weights]
    gradients = []
    for w in weights:
        gradient = rng.uniform(0.1, 3) * rng.standard_normal(len(w))
        gradients.append(gradient - (gradient @ w) / (w @ w) * w)
    return weights, gradients


def rates_and_gradient_norms(
    weights: list[Floats], gradients: list[Floats], rate: float
) -> tuple[Floats, Floats]:
    """eta_i and g_i, by their definitions."""
    rates = np.array([rate / float(w @ w) for w in weights])
    sizes = [
        math.sqrt(float(w @ w) * float(g @ g)) for w, g in zip(weights, gradients, strict=True)
    ]
    return rates, np.array(sizes)


@settings(max_examples=100)
@given(dimensions=dimensions, seed=seeds, rate=learning_rates, norm=norms)
def test_totals_are_those_of_all_parameters_together(
    dimensions: list[int], seed: int, rate: float, norm: float
) -> None:
    weights, gradients = groups_of(dimensions, norm, seed)
    rates, sizes = rates_and_gradient_norms(weights, gradients, rate)
    everything, gradient = np.concatenate(weights), np.concatenate(gradients)
    total_rate = rate / float(everything @ everything)
    assert total_effective_learning_rate(rates) == pytest.approx(total_rate, rel=1e-12)  # (3)
    step = total_rate * np.linalg.norm(everything) * np.linalg.norm(gradient)
    squared = total_squared_effective_step_size(rates, sizes)
    assert squared == pytest.approx(step**2, rel=1e-11)  # (4)
    individual = (rates * sizes) ** 2
    assert individual.min() * (1 - 1e-9) <= squared <= individual.max() * (1 + 1e-9)


@settings(max_examples=100)
@given(dimensions=dimensions, seed=seeds, rate=learning_rates, norm=norms)
def test_next_individual_rates_are_those_after_a_projected_step(
    dimensions: list[int], seed: int, rate: float, norm: float
) -> None:
    weights, gradients = groups_of(dimensions, norm, seed)
    rates, sizes = rates_and_gradient_norms(weights, gradients, rate)
    everything, gradient = np.concatenate(weights), np.concatenate(gradients)
    stepped = everything - rate * gradient
    stepped *= norm / np.linalg.norm(stepped)
    parts = np.split(stepped, np.cumsum(dimensions)[:-1])
    found = [rate / float(part @ part) for part in parts]
    step = rate / norm * np.linalg.norm(gradient)
    expected = next_individual_effective_learning_rates(rates, sizes, np.array(step**2))
    np.testing.assert_allclose(expected, found, rtol=1e-9)  # (5)


def test_axes_before_the_last_are_kept() -> None:
    rng = np.random.default_rng(0)
    rates, sizes = rng.uniform(0.1, 3, (2, 4, 3)), rng.uniform(0.1, 3, (2, 4, 3))
    squared = rng.uniform(0.1, 3, (2, 4))
    totals = total_effective_learning_rate(rates)
    steps = total_squared_effective_step_size(rates, sizes)
    following = next_individual_effective_learning_rates(rates, sizes, squared)
    assert totals.shape == steps.shape == (2, 4)
    assert following.shape == rates.shape
    for place in np.ndindex(2, 4):
        one_by_one = [(rates[place][i], sizes[place][i]) for i in range(3)]
        inverse = sum(1 / rate for rate, _ in one_by_one)
        assert totals[place] == pytest.approx(1 / inverse, rel=1e-14)
        weighted = sum((rate * size) ** 2 / rate for rate, size in one_by_one) / inverse
        assert steps[place] == pytest.approx(weighted, rel=1e-14)
        for i, (rate, size) in enumerate(one_by_one):
            expected = rate * (1 + squared[place]) / (1 + (rate * size) ** 2)
            assert following[place][i] == pytest.approx(expected, rel=1e-14)


@settings(max_examples=30)
@given(
    coefficient=st.floats(0.2, 5),
    product=st.floats(0.1, 0.9) | st.floats(1.1, 4),
    angle=st.floats(0.1, 1.4),
)
def test_the_stable_value_is_where_descent_on_the_circle_ends(
    coefficient: float, product: float, angle: float
) -> None:
    # On the unit circle the gradient of alpha x^2 / (x^2 + y^2) is 2 alpha x y (y, -x).
    x, y = math.cos(angle), math.sin(angle)
    for _ in range(1500):
        x, y = x - 2 * product * x * y * y, y + 2 * product * x * x * y
        x, y = x / math.hypot(x, y), y / math.hypot(x, y)
    predicted = stable_value(coefficient, product / coefficient)
    assert predicted == pytest.approx(coefficient * x * x, rel=1e-7, abs=1e-9)
