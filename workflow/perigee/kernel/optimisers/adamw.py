"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from perigee.kernel.flat import FlatParameters
from perigee.kernel.optimisers.adam import Adam


class AdamW(Adam):
    """Adam after a decay of the weights themselves (Loshchilov and Hutter 2019, Algorithm 2).

    As in PyTorch's AdamW the decay is multiplied by the learning rate::

        x_t <- (1 - eta * lambda) * x_t, then Adam's step by the gradient alone

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
        super().__init__(parameters, weight_decay=0.0, undecayed=(), betas=betas)
        self.decoupled_decay = parameters.coefficients(weight_decay, undecayed)

    def step(self, parameters: FlatParameters, learning_rate: Tensor) -> None:
        """Update the parameters in place.

        Args:
            parameters: the parameters with their gradient.
            learning_rate: eta, a tensor without dimensions.
        """
        parameters.values.mul_(1 - learning_rate * self.decoupled_decay)
        super().step(parameters, learning_rate)
