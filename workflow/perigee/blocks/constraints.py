"""Constraints on the scale-invariant weights."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Positive


class Constraint(Block, kind="constraint"):
    """A condition that the scale-invariant weights fulfil after every step.

    Attributes:
        is_sphere: whether it fixes their norm.
    """

    is_sphere: ClassVar[bool] = False


class Unconstrained(Constraint, name="none", code="perigee.kernel.constraints.none:Unconstrained"):
    """Training in the whole space."""


class FixedNorm(
    Constraint, name="fixed_norm", code="perigee.kernel.constraints.fixed_norm:FixedNorm"
):
    """Training on a sphere.

    Attributes:
        norm: rho, the norm of all scale-invariant weights together; None keeps the initial norm.
    """

    is_sphere: ClassVar[bool] = True

    norm: Positive | None = None


class EqualFilterNorms(
    Constraint,
    name="equal_filter_norms",
    code="perigee.kernel.constraints.equal_filter_norms:EqualFilterNorms",
):
    """Training with the norm of every filter fixed at one value, so that all have one ELR.

    Attributes:
        norm: rho, the norm of all filters together; None keeps the initial norm.
    """

    is_sphere: ClassVar[bool] = True

    norm: Positive | None = None
