"""Learning-rate schedules."""

from __future__ import annotations

from typing import Literal

from perigee.blocks.base import Block, Count, Counts, NotNegativeInteger, Positive, Share


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
        warm_up_steps: updates of the weights in which it rises linearly to its full value.
        warm_up_from: the share of that value in the first of them.
    """

    milestones: Counts
    gamma: Positive
    warm_up_steps: NotNegativeInteger = 0
    warm_up_from: Share = 0.001


class RescaledSteps(
    Steps, name="rescaled_steps", code="perigee.kernel.schedules.steps:RescaledSteps"
):
    """Step decay with scale-invariant weights rescaled to the norm of the next equilibrium.

    Attributes:
        velocity: what becomes of these weights' velocity: "multiplied", as gradients are, or
            "reset" to 0.
    """

    velocity: Literal["multiplied", "reset"] = "multiplied"
