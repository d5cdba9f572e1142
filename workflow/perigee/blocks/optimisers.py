"""Update rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from perigee.blocks.base import BelowOne, Block, Names, NotNegative, Positive, as_tuple


class UpdateRule(Block, kind="optimiser"):
    """An update rule of any kind."""

    @property
    def rate_name(self) -> str:
        """The name of the parameter that the schedule multiplies."""
        return "learning_rate"


class Optimiser(UpdateRule):
    """An update rule with a learning rate and weight decay.

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


class AdamW(Optimiser, name="adamw", code="perigee.kernel.optimisers.adamw:AdamW"):
    """Adam with decoupled weight decay.

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


class ProjectedSGD(
    UpdateRule, name="projected_sgd", code="perigee.kernel.optimisers.projected_sgd:ProjectedSGD"
):
    """Stochastic gradient descent on a sphere of radius rho, by an effective learning rate.

    The learning rate is eta = effective_learning_rate * rho^2. The constraint fixes rho.

    Attributes:
        effective_learning_rate: of all scale-invariant weights together; the schedule multiplies
            it.
    """

    effective_learning_rate: Positive

    @model_validator(mode="before")
    @classmethod
    def _nothing_else(cls, value: Any) -> Any:
        given = value if isinstance(value, Mapping) else {}
        for name in ("learning_rate", "weight_decay", "momentum"):
            if name in given:
                raise PydanticCustomError(
                    "projected_sgd",
                    "trains on the sphere by effective_learning_rate, without learning_rate, "
                    f"weight_decay and momentum; leave out {name}",
                )
        return value

    @property
    def rate_name(self) -> str:
        """The name of the parameter that the schedule multiplies."""
        return "effective_learning_rate"
