"""Constraints on the scale-invariant weights."""

from __future__ import annotations

from perigee.blocks.base import Block, Positive


class Constraint(Block, kind="constraint"):
    """A condition that the scale-invariant weights fulfil after every step."""


class Unconstrained(Constraint, name="none", code="perigee.kernel.constraints.none:Unconstrained"):
    """Training in the whole space."""


class FixedNorm(
    Constraint, name="fixed_norm", code="perigee.kernel.constraints.fixed_norm:FixedNorm"
):
    """Training on a sphere.

    Attributes:
        norm: rho, the norm of all scale-invariant weights together; None keeps the initial norm.
    """

    norm: Positive | None = None
