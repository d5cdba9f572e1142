"""perigee.dynamics.identities on gradients that obey eqs. (1a), (1b), and on some that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perigee.dynamics.identities import orthogonality_error, scaling_error

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**31)
dimensions = st.integers(2, 8)
factors = st.floats(-3, 3).map(lambda exponent: 10**exponent)


def random_points(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape)


def quotient_of_powers(points: Floats) -> Floats:
    """The gradient of sum(x_i^3) / |x|^3, scale-invariant in any dimension, by autograd."""
    variables = torch.tensor(points, requires_grad=True)
    cubes = (variables**3).sum(dim=-1) / (variables**2).sum(dim=-1) ** 1.5
    cubes.sum().backward()
    return variables.grad.numpy()  # type: ignore[union-attr]


@settings(max_examples=50)
@given(seed=seeds, dimension=dimensions, factor=factors)
def test_both_are_round_off_for_a_scale_invariant_function(
    seed: int, dimension: int, factor: float
) -> None:
    points = random_points(seed, 2, 3, dimension)
    # Round-off is that of the terms that cancel in the gradient, which may itself be small.
    size = np.linalg.norm(quotient_of_powers(points), axis=-1) * np.linalg.norm(points, axis=-1)
    for errors in (
        orthogonality_error(quotient_of_powers, points),
        scaling_error(quotient_of_powers, points, factor),
    ):
        assert errors.shape == (2, 3)
        assert (errors <= 1e-14 * (1 + 1 / size)).all()


@settings(max_examples=50)
@given(seed=seeds, dimension=dimensions, factor=factors)
def test_errors_of_a_gradient_that_is_the_point(seed: int, dimension: int, factor: float) -> None:
    # That of |x|^2 / 2: all of it is radial, and it grows with the norm.
    points = random_points(seed, dimension)
    assert orthogonality_error(lambda x: x, points) == pytest.approx(1, rel=1e-12)
    found = scaling_error(lambda x: x, points, factor)
    assert found == pytest.approx(abs(factor**2 - 1), rel=1e-9, abs=1e-12)


@settings(max_examples=50)
@given(seed=seeds, angle=st.floats(0.1, 3), factor=factors)
def test_errors_of_a_constant_gradient(seed: int, angle: float, factor: float) -> None:
    point = random_points(seed, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    gradient = 3 * turn @ point
    error = orthogonality_error(lambda x: gradient, point)
    assert error == pytest.approx(abs(np.cos(angle)), abs=1e-12)
    found = scaling_error(lambda x: gradient, point, factor)
    assert found == pytest.approx(abs(factor - 1), abs=1e-9)


def test_one_point_that_breaks_them_does_not_hide_among_others() -> None:
    def gradient(points: Floats) -> Floats:
        found = quotient_of_powers(points)
        found[..., 1, :] += points[..., 1, :]
        return found

    points = random_points(3, 4, 3, 5)
    for errors in (orthogonality_error(gradient, points), scaling_error(gradient, points, 2.0)):
        assert (errors[:, 1] > 1e-2).all()
        assert (errors[:, [0, 2]] < 1e-13).all()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_where_the_gradient_vanishes_there_is_no_error_to_tell() -> None:
    points = random_points(0, 3)
    assert np.isnan(orthogonality_error(np.zeros_like, points))
    assert np.isnan(scaling_error(np.zeros_like, points, 2.0))
