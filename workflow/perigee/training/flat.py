"""All trained parameters of a network as one vector."""

from __future__ import annotations

import torch
from torch import nn

from perigee.errors import PerigeeError
from perigee.models.scale_invariance import scale_invariant_names


class FlatParameters:
    """One vector of the trained parameters and one of their gradients.

    The network's parameters become views of the vectors, the scale-invariant ones first, so that
    update rule, projection and norms are single operations and read as in the papers.

    Attributes:
        values: (trained parameters,).
        gradient: (trained parameters,); backward passes add to it.
        weights: the scale-invariant part of ``values``, a view.
        weights_gradient: the same part of ``gradient``, a view.
        weight_names: names of the scale-invariant parameters, in order.
        names: names of all trained parameters, in order.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.weight_names = scale_invariant_names(model)
        if not parameters:
            raise PerigeeError(
                f"{type(model).__name__} has no parameter that trains; choose another model."
            )
        others = tuple(name for name in parameters if name not in self.weight_names)
        self.names = self.weight_names + others
        first = next(iter(parameters.values()))
        total = sum(p.numel() for p in parameters.values())
        self.values = torch.empty(total, device=first.device, dtype=first.dtype)
        self.gradient = torch.zeros_like(self.values)
        start = 0
        for name in self.names:
            parameter = parameters[name]
            end = start + parameter.numel()
            view = self.values[start:end].view(parameter.shape)
            view.copy_(parameter.detach())
            parameter.data = view
            parameter.grad = self.gradient[start:end].view(parameter.shape)
            if name == (self.weight_names[-1] if self.weight_names else None):
                self._weights_end = end
            start = end
        if not self.weight_names:
            self._weights_end = 0
        self.weights = self.values[: self._weights_end]
        self.weights_gradient = self.gradient[: self._weights_end]
