"""Errors of the identities that the gradient of every scale-invariant function obeys.

Lobacheva et al. 2021, Section 2. The last axis of an array of points holds their coordinates; other
axes are kept. Errors are relative to the size of the vectors, and NaN where the gradient vanishes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Gradient = Callable[[Floats], Floats]
"""A function from points (..., n) to their gradients, (..., n)."""


def orthogonality_error(gradient: Gradient, points: Floats) -> Floats:
    """|<grad f(x), x>| / (|grad f(x)| |x|), which is 0 by eq. (1a).

    Args:
        gradient: the gradient of f.
        points: x, (..., n), none of them the origin.

    Returns:
        Shape (...).
    """
    here = gradient(points)
    inner = np.abs((here * points).sum(axis=-1))
    error: Floats = inner / (np.linalg.norm(here, axis=-1) * np.linalg.norm(points, axis=-1))
    return error


def scaling_error(gradient: Gradient, points: Floats, factor: float) -> Floats:
    """|a grad f(a x) - grad f(x)| / |grad f(x)|, which is 0 by eq. (1b).

    Args:
        gradient: the gradient of f.
        points: x, (..., n), none of them the origin.
        factor: a > 0.

    Returns:
        Shape (...).
    """
    here = gradient(points)
    difference = factor * gradient(factor * points) - here
    error: Floats = np.linalg.norm(difference, axis=-1) / np.linalg.norm(here, axis=-1)
    return error
