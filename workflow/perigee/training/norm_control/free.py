"""The norm of the scale-invariant weights is left to gradient and weight decay."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def build(weights: Tensor) -> Callable[[Tensor], None]:
    """No projection: training in the whole space (Lobacheva et al. 2021).

    Args:
        weights: all scale-invariant weights as one vector at initialisation; left alone.

    Returns:
        What is called after a step: it leaves the vector alone too.
    """

    def leave(weights: Tensor) -> None:
        return None

    return leave
