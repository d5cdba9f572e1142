"""Adam with weight decay in the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8
"""Added to the root of the second moment; Kingma and Ba 2015."""


class Adam:
    """Adam (Kingma and Ba 2015, Algorithm 1) on one flat vector of parameters.

    Weight decay is added to the gradient, as in PyTorch's Adam (our choice: the papers do not say
    whether theirs was decoupled)::

        g = grad f(x_t) + lambda * x_t
        m_{t+1} = beta_1 * m_t + (1 - beta_1) * g,    v_{t+1} = beta_2 * v_t + (1 - beta_2) * g^2
        x_{t+1} = x_t - eta * (m_{t+1} / (1 - beta_1^{t+1}))
                            / (sqrt(v_{t+1} / (1 - beta_2^{t+1})) + epsilon)

    Args:
        parameters: the vector to be updated; fixes size, device and dtype of the state.
        weight_decay: lambda, on every trained parameter.
        beta_1, beta_2: decay of the two moments, in [0, 1).
    """

    def __init__(
        self, parameters: Tensor, *, weight_decay: float, beta_1: float, beta_2: float
    ) -> None:
        self.weight_decay = weight_decay
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.state: dict[str, Tensor] = {
            "first_moment": torch.zeros_like(parameters),
            "second_moment": torch.zeros_like(parameters),
            "steps": torch.zeros((), dtype=torch.int64),
        }
        """What a resumed run needs."""

    def step(self, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Update ``parameters`` in place by one step of ``learning_rate``."""
        first, second = self.state["first_moment"], self.state["second_moment"]
        steps = int(self.state["steps"].add_(1))
        decayed = gradient.add(parameters, alpha=self.weight_decay)
        first.mul_(self.beta_1).add_(decayed, alpha=1 - self.beta_1)
        second.mul_(self.beta_2).addcmul_(decayed, decayed, value=1 - self.beta_2)
        root = second.div(1 - self.beta_2**steps).sqrt_().add_(EPSILON)
        parameters.addcdiv_(first, root, value=-learning_rate / (1 - self.beta_1**steps))
