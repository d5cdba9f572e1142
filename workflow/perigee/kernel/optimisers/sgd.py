"""Stochastic gradient descent with weight decay and optional momentum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perigee.kernel.flat import FlatParameters


class SGD:
    """The update rule of the papers on the vector of all trained parameters.

    Without momentum, eq. (2) of Lobacheva et al. 2021::

        x_{t+1} = (1 - eta * lambda) * x_t - eta * grad f(x_t)

    With momentum alpha, in PyTorch's convention, which Wan et al. 2021 share::

        v_{t+1} = alpha * v_t + grad f(x_t) + lambda * x_t,    x_{t+1} = x_t - eta * v_{t+1}

    Args:
        parameters: the parameters to update.
        weight_decay: lambda.
        undecayed: names of the groups of parameters without weight decay.
        momentum: alpha, in [0, 1).
    """

    def __init__(
        self,
        parameters: FlatParameters,
        *,
        weight_decay: float,
        undecayed: Sequence[str],
        momentum: float,
    ) -> None:
        self.weight_decay = parameters.coefficients(weight_decay, undecayed)
        self.momentum = momentum
        self.state: dict[str, Tensor] = {}
        """The tensors that a resumed run needs: the velocity v, if there is momentum."""
        if momentum:
            self.state["velocity"] = torch.zeros_like(parameters.values)

    def step(self, parameters: FlatParameters, learning_rate: Tensor) -> None:
        """Update the parameters in place.

        Args:
            parameters: the parameters with their gradient.
            learning_rate: eta, a tensor without dimensions.
        """
        values, gradient = parameters.values, parameters.gradient
        if self.momentum:
            velocity = self.state["velocity"]
            velocity.mul_(self.momentum).add_(gradient).addcmul_(values, self.weight_decay)
            values.addcmul_(velocity, learning_rate, value=-1)
        else:
            values.mul_(1 - learning_rate * self.weight_decay)
            values.addcmul_(gradient, learning_rate, value=-1)
