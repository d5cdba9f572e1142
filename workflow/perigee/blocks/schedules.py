"""Learning-rate schedules."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Count, Counts, Positive


class Schedule(Block):
    """The course of the learning rate."""

    kind: ClassVar[str] = "schedule"


class Constant(Schedule):
    """The learning rate stays."""

    name: ClassVar[str] = "constant"
    code: ClassVar[str] = "perigee.training.schedules.constant:Constant"


class Cosine(Schedule):
    """The learning rate falls to zero along half a cosine.

    Attributes:
        horizon: epochs until zero.
    """

    name: ClassVar[str] = "cosine"
    code: ClassVar[str] = "perigee.training.schedules.cosine:Cosine"

    horizon: Count


class Steps(Schedule):
    """The learning rate is multiplied by a factor at each milestone.

    Attributes:
        milestones: epochs.
        gamma: the factor.
    """

    name: ClassVar[str] = "steps"
    code: ClassVar[str] = "perigee.training.schedules.steps:Steps"

    milestones: Counts
    gamma: Positive
