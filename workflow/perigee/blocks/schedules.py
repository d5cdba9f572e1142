"""Learning-rate schedules."""

from __future__ import annotations

from perigee.blocks.base import Block, Count, Counts, Positive


class Schedule(Block, kind="schedule"):
    """The course of the learning rate."""


class Constant(Schedule, name="constant", code="perigee.kernel.schedules.constant:Constant"):
    """The learning rate stays."""


class Cosine(Schedule, name="cosine", code="perigee.kernel.schedules.cosine:Cosine"):
    """The learning rate falls to zero along half a cosine.

    Attributes:
        horizon: epochs until zero.
    """

    horizon: Count


class Steps(Schedule, name="steps", code="perigee.kernel.schedules.steps:Steps"):
    """The learning rate is multiplied by a factor at each milestone.

    Attributes:
        milestones: epochs.
        gamma: the factor.
    """

    milestones: Counts
    gamma: Positive
