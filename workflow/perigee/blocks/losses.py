"""Losses."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import BelowOne, Block


class Loss(Block):
    """What training minimises."""

    kind: ClassVar[str] = "loss"


class CrossEntropy(Loss):
    """Cross-entropy.

    Attributes:
        label_smoothing: share of the target that all classes get alike.
    """

    name: ClassVar[str] = "cross_entropy"
    code: ClassVar[str] = "perigee.training.losses.cross_entropy:cross_entropy"

    label_smoothing: BelowOne = 0.0
