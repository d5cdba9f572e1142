"""perigee.dynamics.toy against finite differences, autograd and the papers' propositions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perigee.dynamics import toy

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**31)
counts = st.integers(1, 4)
coordinates = st.floats(-10, 10).filter(lambda value: abs(value) > 1e-2)
points_of_the_plane = st.tuples(coordinates, coordinates).map(np.array)
factors = st.floats(-3, 3).map(lambda exponent: 10**exponent)


def random_points(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, 2))


def random_coefficients(count: int, seed: int) -> Floats:
    return np.random.default_rng((seed, 1)).uniform(0.2, 4, count)


@settings(max_examples=50)
@given(point=points_of_the_plane)
def test_value_is_the_squared_cosine_of_the_polar_angle(point: Floats) -> None:
    angle = np.arctan2(point[1], point[0])
    assert toy.toy_value(point) == pytest.approx(np.cos(angle) ** 2, rel=1e-9, abs=1e-15)


@settings(max_examples=50)
@given(point=points_of_the_plane)
def test_gradient_equals_finite_differences(point: Floats) -> None:
    step = 1e-6 * np.linalg.norm(point)
    differences = [
        (toy.toy_value(point + step * axis) - toy.toy_value(point - step * axis)) / (2 * step)
        for axis in np.eye(2)
    ]
    size = 1 / np.linalg.norm(point)  # of the largest gradient at this distance
    np.testing.assert_allclose(toy.toy_gradient(point), differences, rtol=1e-5, atol=1e-8 * size)


@settings(max_examples=50)
@given(count=counts, seed=seeds)
def test_combination_equals_autograd(count: int, seed: int) -> None:
    points, coefficients = random_points(count, seed), random_coefficients(count, seed)
    variables = torch.tensor(points, requires_grad=True)
    squares = variables**2
    value = (torch.tensor(coefficients) * squares[:, 0] / squares.sum(dim=1)).sum()
    value.backward()
    assert toy.combination_value(points, coefficients) == pytest.approx(value.item(), rel=1e-13)
    np.testing.assert_allclose(
        toy.combination_gradient(points, coefficients), variables.grad, rtol=1e-10, atol=1e-13
    )


@settings(max_examples=100)
@given(point=points_of_the_plane, factor=factors)
def test_gradient_is_tangential_and_inversely_proportional(point: Floats, factor: float) -> None:
    # (1a) and (1b) to round-off: a few units in the last place of the terms.
    gradient = toy.toy_gradient(point)
    size = np.linalg.norm(gradient) * np.linalg.norm(point)
    assert abs(gradient @ point) <= 4e-16 * size
    np.testing.assert_allclose(toy.toy_gradient(factor * point) * factor, gradient, rtol=4e-15)
    assert toy.toy_value(factor * point) == pytest.approx(toy.toy_value(point), rel=2e-15)


def test_a_grid_of_points_is_taken_point_by_point() -> None:
    grid = random_points(6, 0).reshape(2, 3, 2)
    values, gradients = toy.toy_value(grid), toy.toy_gradient(grid)
    assert values.shape == (2, 3)
    assert gradients.shape == (2, 3, 2)
    for row in range(2):
        for column in range(3):
            assert values[row, column] == toy.toy_value(grid[row, column])
            assert np.array_equal(gradients[row, column], toy.toy_gradient(grid[row, column]))


# Kodryan et al. 2022, eqs. (2) to (5)


@settings(max_examples=50)
@given(count=counts, seed=seeds, rate=st.floats(1e-3, 2), norm=st.floats(0.1, 10))
def test_projected_step_keeps_the_norm_and_goes_down_the_gradient(
    count: int, seed: int, rate: float, norm: float
) -> None:
    points = random_points(count, seed)
    points *= norm / np.sqrt((points**2).sum())
    kept = points.copy()
    gradient = np.random.default_rng((seed, 2)).normal(size=points.shape)
    stepped = toy.projected_gradient_step(points, gradient, rate)
    assert np.sqrt((stepped**2).sum()) == pytest.approx(norm, rel=1e-14)
    # The direction is that of the plain step.
    plain = (points - rate * gradient).ravel()
    cosine = plain @ stepped.ravel() / (np.linalg.norm(plain) * norm)
    assert cosine == pytest.approx(1, rel=1e-14)
    assert np.array_equal(points, kept)


@settings(max_examples=50)
@given(count=st.integers(2, 4), seed=seeds, rate=st.floats(1e-3, 1), norm=st.floats(0.3, 3))
def test_individual_effective_learning_rates_obey_equations_3_to_5(
    count: int, seed: int, rate: float, norm: float
) -> None:
    points, coefficients = random_points(count, seed), random_coefficients(count, seed)
    points *= norm / np.sqrt((points**2).sum())
    assume(np.sqrt((points**2).sum(axis=1)).min() > 1e-3)
    gradient = toy.combination_gradient(points, coefficients)
    stepped = toy.projected_gradient_step(points, gradient, rate)

    def individual_rates(at: Floats) -> Floats:
        return rate / (at**2).sum(axis=1)

    total_rate = rate / norm**2
    rates, next_rates = individual_rates(points), individual_rates(stepped)
    for each in (rates, next_rates):  # eq. (3)
        assert np.sum(1 / each) == pytest.approx(1 / total_rate, rel=1e-12)

    radii = np.sqrt((points**2).sum(axis=1))
    sizes = rates * radii * np.sqrt((gradient**2).sum(axis=1))
    total_size = total_rate * norm * np.sqrt((gradient**2).sum())
    shares = (1 / rates) / np.sum(1 / rates)
    assert np.sum(shares * sizes**2) == pytest.approx(total_size**2, rel=1e-11)  # eq. (4)

    expected = rates * (1 + total_size**2) / (1 + sizes**2)  # eq. (5)
    np.testing.assert_allclose(next_rates, expected, rtol=1e-10)


def descend(coefficient: float, rate: float, seed: int, steps: int) -> Floats:
    """Values of a single f_alpha on the unit circle."""
    point = toy.random_point_on_sphere((1, 2), seed)
    coefficients = np.array([coefficient])
    values = np.empty(steps)
    for step in range(steps):
        values[step] = toy.combination_value(point, coefficients)
        gradient = toy.combination_gradient(point, coefficients)
        point = toy.projected_gradient_step(point, gradient, rate)
    return values


coefficients_of_one = st.floats(0.3, 5)


@settings(max_examples=20)
@given(coefficient=coefficients_of_one, product=st.floats(0.1, 0.9), seed=seeds)
def test_proposition_1_below_the_threshold_a_function_converges_linearly(
    coefficient: float, product: float, seed: int
) -> None:
    # ``product`` is alpha times the effective learning rate.
    values = descend(coefficient, product / coefficient, seed, 400)
    assert values[-1] < 1e-12 * coefficient
    # Near the minimum every step multiplies x / y by 1 - 2 product, so the value by its square.
    near = values[(values < 1e-6 * coefficient) & (values > 1e-200)]
    if abs(1 - 2 * product) > 0.05:
        np.testing.assert_allclose(near[1:] / near[:-1], (1 - 2 * product) ** 2, rtol=1e-3)


@settings(max_examples=20)
@given(coefficient=coefficients_of_one, product=st.floats(1.1, 4), seed=seeds)
def test_proposition_1_above_the_threshold_a_function_stabilises(
    coefficient: float, product: float, seed: int
) -> None:
    rate = product / coefficient
    values = descend(coefficient, rate, seed, 1500)
    np.testing.assert_allclose(values[-2:], (coefficient - 1 / rate) / 2, rtol=1e-8)


@settings(max_examples=10, deadline=None)
@given(
    coefficients=st.lists(st.floats(0.5, 4), min_size=2, max_size=4),
    product=st.floats(1.1, 1.4),
    seed=seeds,
)
def test_the_sum_stabilises_around_its_level(
    coefficients: list[float], product: float, seed: int
) -> None:
    """By descent in polar coordinates, one angle and one radius for each summand.

    ``product`` is the sum of the coefficients times the effective learning rate.
    """
    alpha = np.array(coefficients)
    rate = product / alpha.sum()
    angle, radius = np.random.default_rng(seed).uniform(0.3, 1.2, (2, len(alpha)))
    values = []
    for _ in range(6000):
        radius /= np.sqrt((radius**2).sum())
        values.append((alpha * np.cos(angle) ** 2).sum())
        # alpha cos^2 has the derivative -alpha sin(2 angle) along the circle.
        turn = np.arctan(rate * alpha * np.sin(2 * angle) / radius**2)
        radius = radius / np.cos(turn)
        angle = angle + turn
    expected = (alpha.sum() - 1 / rate) / 2
    assert toy.equilibrium_value(alpha, rate) == pytest.approx(expected, rel=1e-12)
    assert np.mean(values[2000:]) == pytest.approx(expected, rel=0.03)


def test_below_its_threshold_the_sum_has_no_level_but_0() -> None:
    alpha = np.array([1.0, 2.0, 4.0])
    assert [toy.equilibrium_value(alpha, rate) for rate in (0.01, 0.1, 0.142)] == [0, 0, 0]
    assert toy.equilibrium_value(alpha, 0.2) == pytest.approx(1)


@pytest.mark.parametrize("rate", [0.15, 0.2])
def test_in_the_second_regime_individual_rates_average_to_their_equilibrium(rate: float) -> None:
    """Eq. (9): alpha_i times the mean individual rate is the same for all i."""
    alpha = np.array([1.0, 2.0, 4.0])
    points = toy.random_point_on_sphere((3, 2), 0)
    rates = []
    for _ in range(4000):
        gradient = toy.combination_gradient(points, alpha)
        points = toy.projected_gradient_step(points, gradient, rate)
        rates.append(rate / (points**2).sum(axis=1))
    expected = rate * alpha.sum() / alpha
    np.testing.assert_allclose(np.mean(rates[1000:], axis=0), expected, rtol=0.01)


# The start


@settings(max_examples=25)
@given(count=counts, seed=seeds)
def test_a_random_point_is_on_the_unit_sphere_and_settled_by_its_seed(
    count: int, seed: int
) -> None:
    point = toy.random_point_on_sphere((count, 2), seed)
    assert point.shape == (count, 2)
    assert np.sqrt((point**2).sum()) == pytest.approx(1, rel=1e-14)
    assert np.array_equal(toy.random_point_on_sphere((count, 2), seed), point)
    assert not np.array_equal(toy.random_point_on_sphere((count, 2), seed + 1), point)


def test_random_points_are_uniform() -> None:
    # On the sphere of R^3 the uniform distribution has each coordinate uniform on [-1, 1]
    # (Archimedes). 2000 points: the largest deviation of the distribution function exceeds
    # 1.95 / sqrt(2000) with probability 0.001, and the seeds are fixed.
    points = np.array([toy.random_point_on_sphere((3,), seed) for seed in range(2000)])
    ranks = (np.arange(2000) + 0.5) / 2000
    for coordinate in points.T:
        assert np.abs((np.sort(coordinate) + 1) / 2 - ranks).max() < 1.95 / 2000**0.5
