"""Training on the sphere: the scale-invariant weights are rescaled after every step."""

from __future__ import annotations

import torch
from torch import Tensor

from perigee.kernel.flat import FlatParameters


class FixedNorm:
    """The projection of eq. (2) of Kodryan et al. 2022 onto the sphere of radius ``norm``.

    Args:
        parameters: the network's parameters at the start. The scale-invariant weights are rescaled
            at once, so that training starts on the sphere.
        norm: rho, greater than 0; None keeps the norm that the weights have.
    """

    def __init__(self, parameters: FlatParameters, *, norm: float | None) -> None:
        weights = parameters.weights
        radius = torch.linalg.vector_norm(weights) if norm is None else weights.new_tensor(norm)
        self.state: dict[str, Tensor] = {"radius": radius}
        """The tensors that a resumed run needs."""
        self.apply(parameters)

    def apply(self, parameters: FlatParameters) -> None:
        """Rescale the scale-invariant weights in place after a step."""
        weights = parameters.weights
        weights.mul_(self.state["radius"] / torch.linalg.vector_norm(weights))
