"""Quantities of the dynamics on the unit sphere.

rho is the norm of the scale-invariant weights, g the norm of the gradient w.r.t. them, eta the
learning rate. Arguments are floats or arrays of equal shape.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])
Vector = Any  # a NumPy array or a tensor: both know `dot`


def effective_learning_rate(learning_rate: Number, weight_norm: Number) -> Number:
    """Eta / rho^2, the learning rate on the unit sphere (Lobacheva et al. 2021, Section 2)."""
    return learning_rate / weight_norm**2


def effective_gradient_norm(gradient_norm: Number, weight_norm: Number) -> Number:
    """Rho * g, the gradient's norm at the projection onto the unit sphere.

    Lobacheva et al. 2021, Section 2, by eq. (1b).
    """
    return weight_norm * gradient_norm


def effective_step_size(
    learning_rate: Number, gradient_norm: Number, weight_norm: Number
) -> Number:
    """ELR times effective gradient norm, the step on the unit sphere (Kodryan et al. 2022, 3.1)."""
    return effective_learning_rate(learning_rate, weight_norm) * effective_gradient_norm(
        gradient_norm, weight_norm
    )


def cosine_distance(before: Vector, after: Vector) -> Vector:
    """1 - cos(x_t, x_{t+1}) of two vectors (Lobacheva et al. 2021, Definition 1).

    It is computed as half the squared distance of the two unit vectors, which is the same and,
    unlike the definition, keeps its digits where the vectors nearly agree.

    Args:
        before, after: NumPy arrays or tensors, (weights,).

    Returns:
        A scalar of the same kind.
    """
    difference = before / before.dot(before) ** 0.5 - after / after.dot(after) ** 0.5
    return 0.5 * difference.dot(difference)
