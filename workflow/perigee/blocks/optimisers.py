"""Update rules."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from perigee.blocks.base import BelowOne, Block, Names, NotNegative, Positive, as_tuple


class Optimiser(Block, kind="optimiser"):
    """An update rule.

    Attributes:
        learning_rate: eta, which the schedule multiplies.
        weight_decay: lambda.
        undecayed: groups of parameters without weight decay, by name: "scale_invariant",
            "normalisation" (location and scale), "other".
    """

    learning_rate: Positive
    weight_decay: NotNegative = 0.0
    undecayed: Names = ()


class Adam(Optimiser, name="adam", code="perigee.kernel.optimisers.adam:Adam"):
    """Adam with weight decay in the gradient.

    Attributes:
        betas: decay rates of the two moments.
    """

    betas: Annotated[tuple[BelowOne, BelowOne], BeforeValidator(as_tuple)] = (0.9, 0.999)


class SGD(Optimiser, name="sgd", code="perigee.kernel.optimisers.sgd:SGD"):
    """Stochastic gradient descent.

    Attributes:
        momentum: alpha.
    """

    momentum: BelowOne = 0.0
