"""The scale-invariant weights of a network, as the network declares them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from perigee.errors import PerigeeError


@dataclass(frozen=True)
class ScaleInvariantWeights:
    """The trained weights whose joint scaling leaves the network's output in train mode unchanged.

    Location and scale of normalisations and biases are never among them (Lobacheva et al. 2021,
    Section 2).

    Attributes:
        names: the names of all of them, in the network's order.
        by_filter: the names of those whose every filter (all that leads to one output channel) is
            scale-invariant by itself (Kodryan et al. 2022, Section 3.1). The others are
            scale-invariant only together, such as convolutions whose outputs are added.
    """

    names: tuple[str, ...] = ()
    by_filter: tuple[str, ...] = ()


def declared_weights(model: nn.Module) -> ScaleInvariantWeights:
    """The scale-invariant weights that a network declares as its ``scale_invariant_weights``.

    Raises:
        PerigeeError: the network declares nothing.
    """
    declared = getattr(model, "scale_invariant_weights", None)
    if not isinstance(declared, ScaleInvariantWeights):
        raise PerigeeError(
            f"{type(model).__name__} does not declare its scale-invariant weights; give it an "
            "attribute 'scale_invariant_weights' (perigee.models.declaration)."
        )
    return declared
