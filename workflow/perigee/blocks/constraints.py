"""Constraints on the scale-invariant weights."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Positive


class Constraint(Block):
    """A condition that the scale-invariant weights fulfil after every step."""

    kind: ClassVar[str] = "constraint"


class Unconstrained(Constraint):
    """Training in the whole space."""

    name: ClassVar[str] = "none"
    code: ClassVar[str] = "perigee.training.constraints.none:Unconstrained"


class FixedNorm(Constraint):
    """Training on a sphere.

    Attributes:
        norm: rho, the norm of all scale-invariant weights together; None keeps that at the start.
    """

    name: ClassVar[str] = "fixed_norm"
    code: ClassVar[str] = "perigee.training.constraints.fixed_norm:FixedNorm"

    norm: Positive | None = None
