"""Learning-rate schedules."""

from __future__ import annotations

from perigee.blocks.base import Block, Count, Counts, Positive


class Schedule(Block, kind="schedule"):
    """A learning-rate schedule."""


class Constant(Schedule, name="constant", code="perigee.kernel.schedules.constant:Constant"):
    """A constant learning rate."""


class Cosine(Schedule, name="cosine", code="perigee.kernel.schedules.cosine:Cosine"):
    """Cosine decay: the learning rate falls to zero along half a cosine.

    Attributes:
        horizon: epochs until zero.
    """

    horizon: Count


class Steps(Schedule, name="steps", code="perigee.kernel.schedules.steps:Steps"):
    """Step decay: the learning rate is multiplied by a factor at each milestone.

    Attributes:
        milestones: epochs at which it is multiplied.
        gamma: the factor.
    """

    milestones: Counts
    gamma: Positive
