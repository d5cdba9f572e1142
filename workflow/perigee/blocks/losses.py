"""Losses."""

from __future__ import annotations

from perigee.blocks.base import BelowOne, Block


class Loss(Block, kind="loss"):
    """The loss that training minimises."""


class CrossEntropy(
    Loss, name="cross_entropy", code="perigee.kernel.losses.cross_entropy:cross_entropy"
):
    """Cross-entropy.

    Attributes:
        label_smoothing: share of the target that is spread evenly over all classes.
    """

    label_smoothing: BelowOne = 0.0
