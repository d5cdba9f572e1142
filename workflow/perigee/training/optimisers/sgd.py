"""Stochastic gradient descent with weight decay and, if wanted, momentum."""

from __future__ import annotations

import torch
from torch import Tensor


class SGD:
    """The update rule of the papers on one flat vector of parameters.

    Without momentum, eq. (2) of Lobacheva et al. 2021::

        x_{t+1} = (1 - eta * lambda) * x_t - eta * grad f(x_t)

    With momentum alpha, in PyTorch's convention, which Wan et al. 2021 share::

        v_{t+1} = alpha * v_t + grad f(x_t) + lambda * x_t,    x_{t+1} = x_t - eta * v_{t+1}

    Args:
        parameters: the vector to be updated; fixes size, device and dtype of the state.
        weight_decay: lambda, on every trained parameter.
        momentum: alpha, in [0, 1).
    """

    def __init__(self, parameters: Tensor, *, weight_decay: float, momentum: float) -> None:
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.state: dict[str, Tensor] = {}
        """What a resumed run needs: the velocity v, if there is momentum."""
        if momentum:
            self.state["velocity"] = torch.zeros_like(parameters)

    def step(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update ``parameters`` in place by one step of ``learning_rate``."""
        if self.momentum:
            velocity = self.state["velocity"]
            velocity.mul_(self.momentum).add_(gradient).add_(parameters, alpha=self.weight_decay)
            parameters.sub_(velocity, alpha=learning_rate)
        else:
            parameters.mul_(1 - learning_rate * self.weight_decay)
            parameters.sub_(gradient, alpha=learning_rate)
