"""Update rules."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from perigee.blocks.base import BelowOne, Block, Names, NotNegative, Positive, as_tuple


class Optimiser(Block):
    """An update rule.

    Attributes:
        learning_rate: eta, which the schedule multiplies.
        weight_decay: lambda.
        undecayed: groups of parameters without weight decay, by name: "scale_invariant",
            "normalisation" (location and scale), "other".
    """

    kind: ClassVar[str] = "optimiser"

    learning_rate: Positive
    weight_decay: NotNegative = 0.0
    undecayed: Names = ()


class Adam(Optimiser):
    """Adam with weight decay in the gradient.

    Attributes:
        betas: decay of the two moments.
    """

    name: ClassVar[str] = "adam"
    code: ClassVar[str] = "perigee.training.optimisers.adam:Adam"

    betas: Annotated[tuple[BelowOne, BelowOne], BeforeValidator(as_tuple)] = (0.9, 0.999)


class SGD(Optimiser):
    """Stochastic gradient descent.

    Attributes:
        momentum: alpha.
    """

    name: ClassVar[str] = "sgd"
    code: ClassVar[str] = "perigee.training.optimisers.sgd:SGD"

    momentum: BelowOne = 0.0
