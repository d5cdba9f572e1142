"""perigee.dynamics.sphere and norm against the papers' definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perigee.dynamics import sphere
from perigee.dynamics.norm import next_squared_norm

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**31)
rates = st.floats(1e-4, 10)
norms = st.floats(1e-2, 1e2)


def unit(vector: Floats) -> Floats:
    return vector / np.sqrt(np.sum(vector**2))


def quotient_gradient(point: Floats, matrix: Floats) -> Floats:
    """The gradient of the Rayleigh quotient x'Ax / x'x, scale-invariant in any dimension."""
    square = point @ point
    value = point @ matrix @ point / square
    return 2 * (matrix @ point - value * point) / square


def random_problem(seed: int, norm: float) -> tuple[Floats, Floats]:
    """A point of the given norm and a symmetric matrix."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(4, 4))
    return norm * unit(generator.normal(size=4)), matrix + matrix.T


@settings(max_examples=50)
@given(rate=rates, norm=norms, seed=seeds)
def test_effective_quantities_make_the_same_step_on_the_unit_sphere(
    rate: float, norm: float, seed: int
) -> None:
    # What they are defined by: eta at x and the effective learning rate at x / rho move the
    # direction alike, by a step of the effective step size.
    point, matrix = random_problem(seed, norm)
    gradient = quotient_gradient(point, matrix)
    effective_gradient = quotient_gradient(unit(point), matrix)
    effective_rate = sphere.effective_learning_rate(rate, norm)
    here = unit(point - rate * gradient)
    on_the_sphere = unit(unit(point) - effective_rate * effective_gradient)
    np.testing.assert_allclose(here, on_the_sphere, rtol=1e-9, atol=1e-12)

    size = float(np.linalg.norm(gradient))
    effective_size = float(np.linalg.norm(effective_gradient))
    assert sphere.effective_gradient_norm(size, norm) == pytest.approx(effective_size, rel=1e-9)
    assert sphere.effective_step_size(rate, size, norm) == pytest.approx(
        float(np.linalg.norm(effective_rate * effective_gradient)), rel=1e-9
    )


def test_formulas_at_round_numbers_and_on_arrays() -> None:
    rate, gradient, norm = np.array([0.5, 1.0]), np.array([3.0, 0.25]), np.array([2.0, 4.0])
    assert sphere.effective_learning_rate(rate, norm).tolist() == [0.125, 0.0625]
    assert sphere.effective_gradient_norm(gradient, norm).tolist() == [6.0, 1.0]
    assert sphere.effective_step_size(rate, gradient, norm).tolist() == [0.75, 0.0625]


# Lobacheva et al. 2021, eq. (3)


@settings(max_examples=50)
@given(rate=rates, decay=st.floats(0, 0.5), norm=norms, seed=seeds)
def test_next_squared_norm_is_that_of_a_step_written_out(
    rate: float, decay: float, norm: float, seed: int
) -> None:
    point, matrix = random_problem(seed, norm)
    gradient = quotient_gradient(point, matrix)
    stepped = (1 - rate * decay) * point - rate * gradient
    found = next_squared_norm(rate, decay, float(np.linalg.norm(gradient)), norm)
    # The two terms of the sum, without the cross term that (1a) makes vanish.
    scale = (1 - rate * decay) ** 2 * norm**2 + rate**2 * float(gradient @ gradient)
    assert found == pytest.approx(float(stepped @ stepped), rel=1e-8, abs=1e-10 * scale)


# The cosine distance

vectors = st.integers(2, 50).flatmap(lambda size: st.tuples(seeds, st.just(size)))


@settings(max_examples=50)
@given(first=vectors, other_seed=seeds, scales=st.tuples(norms, norms))
def test_cosine_distance_of_vectors_far_apart_is_the_definition(
    first: tuple[int, int], other_seed: int, scales: tuple[float, float]
) -> None:
    seed, size = first
    before = scales[0] * np.random.default_rng(seed).normal(size=size)
    after = scales[1] * np.random.default_rng((other_seed, 1)).normal(size=size)
    high = before.astype(np.longdouble), after.astype(np.longdouble)
    cosine = high[0] @ high[1] / np.sqrt((high[0] @ high[0]) * (high[1] @ high[1]))
    expected = float(1 - cosine)
    assert sphere.cosine_distance(before, after) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    found = sphere.cosine_distance(torch.tensor(before), torch.tensor(after))
    assert isinstance(found, torch.Tensor)
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@settings(max_examples=50)
@given(exponent=st.integers(-18, -8), norm=st.sampled_from([0.125, 1.0, 64.0]))
def test_cosine_distance_of_close_float32_vectors_keeps_its_digits(
    exponent: int, norm: float
) -> None:
    # A right triangle with tan(angle) = t: 1 - cos = t^2 / (sqrt(1+t^2) (1 + sqrt(1+t^2))).
    tangent = 2.0**exponent
    before = torch.zeros(100)
    before[7] = norm
    after = before.clone()
    after[11] = norm * tangent
    hypotenuse = np.sqrt(1 + tangent**2)
    expected = tangent**2 / (hypotenuse * (1 + hypotenuse))
    assert float(sphere.cosine_distance(before, after)) == pytest.approx(expected, rel=1e-3)
    if exponent < -13:  # where the definition has no digit left in float32
        assert 1 - float(before @ after / (before.norm() * after.norm())) in (0, 2**-24)


@settings(max_examples=25)
@given(angle=st.sampled_from([1e-4, 1e-3, 1e-2]), size=st.integers(100, 3000), seed=seeds)
def test_cosine_distance_of_close_random_float32_vectors(
    angle: float, size: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    before = generator.normal(size=size)
    sideways = generator.normal(size=size)
    sideways -= before * (sideways @ before) / (before @ before)
    sideways *= np.linalg.norm(before) / np.linalg.norm(sideways)
    after = np.cos(angle) * before + np.sin(angle) * sideways
    rounded = before.astype(np.float32), after.astype(np.float32)
    first, second = (vector.astype(np.longdouble) for vector in rounded)
    # Of the rounded vectors, in high precision, through the sine of half the angle.
    difference = first / np.sqrt(first @ first) - second / np.sqrt(second @ second)
    half_sine = np.sqrt(difference @ difference) / 2
    expected = float(2 * half_sine**2)
    assert expected == pytest.approx(2 * np.sin(angle / 2) ** 2, rel=1e-2)
    found = float(sphere.cosine_distance(*map(torch.from_numpy, rounded)))
    assert found == pytest.approx(expected, rel=2e-2 if angle < 5e-4 else 2e-3)


@settings(max_examples=25)
@given(seed=seeds, scale=norms)
def test_cosine_distance_ignores_norms_and_knows_its_ends(seed: int, scale: float) -> None:
    vector = np.random.default_rng(seed).normal(size=9)
    assert sphere.cosine_distance(vector, scale * vector) == pytest.approx(0, abs=1e-30)
    assert sphere.cosine_distance(vector, -scale * vector) == pytest.approx(2, rel=1e-14)
    right_angle = np.array([-vector[1], vector[0]])
    assert sphere.cosine_distance(vector[:2], scale * right_angle) == pytest.approx(1, rel=1e-14)
