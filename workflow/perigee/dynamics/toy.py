"""The papers' simplest scale-invariant functions.

f(x, y) = x^2 / (x^2 + y^2) and its conical combination F (Kodryan et al. 2022, eqs. (6), (7);
Lobacheva et al. 2021, Figure 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def toy_value(points: Floats) -> Floats:
    """The value f at points (..., 2), none of them the origin; shape (...)."""
    x, y = points[..., 0], points[..., 1]
    return x**2 / (x**2 + y**2)


def toy_gradient(points: Floats) -> Floats:
    """The gradient of f at points (..., 2), none of them the origin; shape (..., 2)."""
    x, y = points[..., 0], points[..., 1]
    factor = 2 * x * y / (x**2 + y**2) ** 2
    return np.stack((factor * y, -factor * x), axis=-1)


def combination_value(points: Floats, coefficients: Floats) -> float:
    """F at ``points`` (n, 2) with alpha_i > 0 (n,): the sum of alpha_i f(x_i, y_i)."""
    return float(coefficients @ toy_value(points))


def combination_gradient(points: Floats, coefficients: Floats) -> Floats:
    """The gradient of F at ``points`` (n, 2); shape (n, 2)."""
    return coefficients[:, None] * toy_gradient(points)


def projected_gradient_step(points: Floats, gradient: Floats, learning_rate: float) -> Floats:
    """Take a step of gradient descent and rescale to the old norm (Kodryan et al. 2022, eq. (2)).

    Args:
        points: all parameters together, any shape; their total norm is kept.
        gradient: the gradient at ``points``, of the same shape.
        learning_rate: eta; on the unit sphere this is the total effective learning rate.
    """
    stepped = points - learning_rate * gradient
    return stepped * (np.linalg.norm(points) / np.linalg.norm(stepped))


def random_point_on_sphere(shape: tuple[int, ...], seed: int) -> Floats:
    """A point drawn uniformly from the unit sphere of all its entries together."""
    gaussian = np.random.default_rng(seed).standard_normal(shape)
    return gaussian / np.linalg.norm(gaussian)


def stable_value(coefficient: float, effective_learning_rate: float) -> float:
    """The value at which gradient descent on alpha f ends (Kodryan et al. 2022, Proposition 1).

    Args:
        coefficient: alpha > 0.
        effective_learning_rate: not 1 / alpha, at which the proposition says nothing.
    """
    if effective_learning_rate < 1 / coefficient:
        return 0.0
    return 0.5 * (coefficient - 1 / effective_learning_rate)


def equilibrium_value(coefficients: Floats, effective_learning_rate: float) -> float:
    """The value (sum of alpha_i - 1 / ELR) / 2 around which F stabilises in the second regime.

    Each summand is at its own `stable_value` there (Kodryan et al. 2022, Proposition 1), and the
    inverse individual effective learning rates add up to the inverse total one, eq. (3).

    Args:
        coefficients: alpha_i.
        effective_learning_rate: of all parameters together.

    Returns:
        The value; 0 up to the threshold 1 / sum of alpha_i, eq. (8), in the first regime.
    """
    return max(0.0, 0.5 * (float(np.sum(coefficients)) - 1 / effective_learning_rate))
