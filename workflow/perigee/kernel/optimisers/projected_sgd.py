"""Stochastic gradient descent on a sphere."""

from __future__ import annotations

from torch import Tensor

from perigee.errors import PerigeeError
from perigee.kernel.flat import FlatParameters


class ProjectedSGD:
    """The first line of eq. (2) of Kodryan et al. 2022; the constraint is the second.

    It has neither weight decay nor momentum.

    Args:
        parameters: the parameters to update.

    Raises:
        PerigeeError: the network has no scale-invariant weights, and so no sphere.
    """

    def __init__(self, parameters: FlatParameters) -> None:
        if not parameters.weight_names:
            raise PerigeeError(
                "Optimiser 'projected_sgd' trains scale-invariant weights on a sphere, of which "
                "this network has none; choose another model or optimiser."
            )
        self.state: dict[str, Tensor] = {}

    def step(self, parameters: FlatParameters, learning_rate: Tensor) -> None:
        """Update the parameters in place.

        Args:
            parameters: the parameters with their gradient.
            learning_rate: eta, a tensor without dimensions.
        """
        parameters.values.addcmul_(parameters.gradient, learning_rate, value=-1)
