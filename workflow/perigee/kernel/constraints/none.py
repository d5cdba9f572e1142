"""No constraint: gradient and weight decay settle the norm of the scale-invariant weights."""

from __future__ import annotations

from torch import Tensor

from perigee.kernel.flat import FlatParameters


class Unconstrained:
    """Training in the whole space (Lobacheva et al. 2021).

    Args:
        parameters: the network's parameters; left unchanged.
    """

    def __init__(self, parameters: FlatParameters) -> None:
        self.state: dict[str, Tensor] = {}
        """The tensors that a resumed run needs: none."""

    def apply(self, parameters: FlatParameters) -> None:
        """Leave the weights unchanged after a step."""
