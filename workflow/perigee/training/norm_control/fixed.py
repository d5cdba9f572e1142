"""Training on the sphere: the scale-invariant weights are rescaled after every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def build(weights: Tensor, *, norm: float | None) -> Callable[[Tensor], None]:
    """The projection of eq. (2) of Kodryan et al. 2022 onto the sphere of radius ``norm``.

    Args:
        weights: all scale-invariant weights as one vector at initialisation. They are rescaled at
            once, so that training starts on the sphere.
        norm: rho, greater than 0; None keeps the norm that the initialisation has.

    Returns:
        What rescales the vector in place after a step.
    """
    radius = torch.linalg.vector_norm(weights) if norm is None else weights.new_tensor(norm)

    def project(weights: Tensor) -> None:
        weights.mul_(radius / torch.linalg.vector_norm(weights))

    project(weights)
    return project
