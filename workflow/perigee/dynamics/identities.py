"""What the gradient of every scale-invariant function obeys, as errors of a given gradient.

Lobacheva et al. 2021, Section 2. Points hold their coordinates in the last axis; other axes are
kept. Errors are relative to the size of the vectors, and NaN where the gradient vanishes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Gradient = Callable[[Floats], Floats]
"""Takes points (..., n) and returns as many gradients, (..., n)."""


def orthogonality_error(gradient: Gradient, points: Floats) -> Floats:
    """|<grad f(x), x>| / (|grad f(x)| |x|), which eq. (1a) says is 0.

    Args:
        gradient: of f.
        points: x, (..., n), none of them the origin.

    Returns:
        Shape (...).
    """
    here = gradient(points)
    inner = np.abs((here * points).sum(axis=-1))
    error: Floats = inner / (np.linalg.norm(here, axis=-1) * np.linalg.norm(points, axis=-1))
    return error


def scaling_error(gradient: Gradient, points: Floats, factor: float) -> Floats:
    """|a grad f(a x) - grad f(x)| / |grad f(x)|, which eq. (1b) says is 0.

    Args:
        gradient: of f.
        points: x, (..., n), none of them the origin.
        factor: a > 0.

    Returns:
        Shape (...).
    """
    here = gradient(points)
    difference = factor * gradient(factor * points) - here
    error: Floats = np.linalg.norm(difference, axis=-1) / np.linalg.norm(here, axis=-1)
    return error
