"""Adam with weight decay in the gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perigee.kernel.flat import FlatParameters

EPSILON = 1e-8
"""The constant added to the root of the second moment (Kingma and Ba 2015)."""


class Adam:
    """Adam (Kingma and Ba 2015, Algorithm 1) on the vector of all trained parameters.

    Weight decay is added to the gradient, as in PyTorch's Adam (our choice: the papers do not say
    whether theirs was decoupled)::

        g = grad f(x_t) + lambda * x_t
        m_{t+1} = beta_1 * m_t + (1 - beta_1) * g,    v_{t+1} = beta_2 * v_t + (1 - beta_2) * g^2
        x_{t+1} = x_t - eta * (m_{t+1} / (1 - beta_1^{t+1}))
                            / (sqrt(v_{t+1} / (1 - beta_2^{t+1})) + epsilon)

    Args:
        parameters: the parameters to update.
        weight_decay: lambda.
        undecayed: names of the groups of parameters without weight decay.
        betas: beta_1 and beta_2, the decay rates of the two moments, in [0, 1).
    """

    def __init__(
        self,
        parameters: FlatParameters,
        *,
        weight_decay: float,
        undecayed: Sequence[str],
        betas: Sequence[float],
    ) -> None:
        self.weight_decay = parameters.coefficients(weight_decay, undecayed)
        self.beta_1, self.beta_2 = betas
        self.state: dict[str, Tensor] = {
            "first_moment": torch.zeros_like(parameters.values),
            "second_moment": torch.zeros_like(parameters.values),
            # The power that corrects a moment's bias; float64, so that it stays exact enough.
            "steps": torch.zeros((), dtype=torch.float64, device=parameters.values.device),
        }
        """The tensors that a resumed run needs."""

    def step(self, parameters: FlatParameters, learning_rate: Tensor) -> None:
        """Update the parameters in place.

        Args:
            parameters: the parameters with their gradient.
            learning_rate: eta, a tensor without dimensions.
        """
        values, first, second = (
            parameters.values,
            self.state["first_moment"],
            self.state["second_moment"],
        )
        steps = self.state["steps"].add_(1)
        decayed = parameters.gradient.addcmul(values, self.weight_decay)
        first.mul_(self.beta_1).add_(decayed, alpha=1 - self.beta_1)
        second.mul_(self.beta_2).addcmul_(decayed, decayed, value=1 - self.beta_2)
        root = second.div(1 - self.beta_2**steps).sqrt_().add_(EPSILON)
        rate = learning_rate / (1 - self.beta_1**steps)
        values.addcdiv_(first * rate, root, value=-1)
