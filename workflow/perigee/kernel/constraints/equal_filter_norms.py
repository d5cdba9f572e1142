"""Training with the norm of every filter fixed: all of them are rescaled after every step."""

from __future__ import annotations

import torch

from perigee.errors import PerigeeError
from perigee.kernel.constraints.fixed_norm import FixedNorm
from perigee.kernel.flat import FlatParameters


class EqualFilterNorms(FixedNorm):
    """The projection of every filter onto a sphere of its own, all of the same radius.

    The radius is ``norm`` over the root of their number, so that all filters together have that
    norm. So all individual effective learning rates are equal (official code of Kodryan et al.
    2022).

    Args:
        parameters: the network's parameters at the start, whose filters are rescaled at once.
        norm: rho, greater than 0; None keeps the norm that the filters have together.

    Raises:
        PerigeeError: some scale-invariant weights are not so filter by filter.
    """

    def __init__(self, parameters: FlatParameters, *, norm: float | None) -> None:
        if len(parameters.filters) != len(parameters.weight_names):
            raise PerigeeError(
                "Constraint 'equal_filter_norms' is of networks whose filters are all "
                "scale-invariant by themselves, such as convnet; here some are only together."
            )
        super().__init__(parameters, norm=norm)

    def apply(self, parameters: FlatParameters) -> None:
        """Rescale every filter in place after a step."""
        filters = parameters.filters
        each = self.state["radius"] / sum(len(one) for one in filters) ** 0.5
        for weights in filters:
            weights.mul_(each / torch.linalg.vector_norm(weights, dim=1, keepdim=True))
