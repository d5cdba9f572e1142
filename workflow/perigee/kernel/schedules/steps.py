"""Step decay, also with warm-up and with weights that skip the way to the next equilibrium."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perigee.kernel.flat import FlatParameters
from perigee.kernel.schedules.base import Optimiser, Schedule

VELOCITY = "velocity"


class Steps(Schedule):
    """Decay by ``gamma`` at each milestone, after a linear warm-up (Goyal et al. 2017).

    Args:
        steps_per_epoch: updates of the weights in an epoch.
        milestones: epochs from which the learning rate is multiplied by ``gamma`` once more.
        gamma: the factor, greater than 0.
        warm_up_steps: updates in which the factor rises from ``warm_up_from`` to 1.
        warm_up_from: the factor of the first of them, as in Detectron2 (our choice: Goyal et al.
            name the learning rate of one worker, which differs from recipe to recipe).
    """

    def __init__(
        self,
        steps_per_epoch: int,
        *,
        milestones: Sequence[int],
        gamma: float,
        warm_up_steps: int,
        warm_up_from: float,
    ) -> None:
        super().__init__(steps_per_epoch)
        self.milestones, self.gamma = milestones, gamma
        self.warm_up_steps, self.warm_up_from = warm_up_steps, warm_up_from

    def factors(self, epoch: int) -> NDArray[np.float64]:
        """Gamma to the power of the milestones reached, times the factor of the warm-up."""
        reached = sum(epoch >= milestone for milestone in self.milestones)
        factors = np.full(self.steps_per_epoch, self.gamma**reached)
        if epoch * self.steps_per_epoch < self.warm_up_steps:
            steps = epoch * self.steps_per_epoch + np.arange(self.steps_per_epoch)
            progress = np.minimum(steps / self.warm_up_steps, 1)
            factors *= self.warm_up_from + (1 - self.warm_up_from) * progress
        return factors


class RescaledSteps(Steps):
    """Step decay that rescales the scale-invariant weights to the norm of the next equilibrium.

    Where the learning rate is divided by k, these weights are divided by the fourth root of k (Wan
    et al. 2021, Section 4.2), so that their angular update has its new equilibrium at once.

    Args:
        steps_per_epoch, milestones, gamma, warm_up_steps, warm_up_from: see `Steps`.
        velocity: what becomes of their velocity, of which the paper says nothing. "multiplied" by
            the fourth root of k (our choice): gradients grow by it as the weights shrink, so it is
            the velocity of the same course; or "reset" to 0.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        *,
        milestones: Sequence[int],
        gamma: float,
        warm_up_steps: int,
        warm_up_from: float,
        velocity: str,
    ) -> None:
        super().__init__(
            steps_per_epoch,
            milestones=milestones,
            gamma=gamma,
            warm_up_steps=warm_up_steps,
            warm_up_from=warm_up_from,
        )
        self.velocity = velocity

    def begin_epoch(self, epoch: int, parameters: FlatParameters, optimiser: Optimiser) -> None:
        """Rescale if the epoch is a milestone."""
        decays = self.milestones.count(epoch)  # a milestone that stands twice counts twice
        if not decays:
            return
        root = (1 / self.gamma) ** (0.25 * decays)
        parameters.weights.div_(root)
        if VELOCITY in optimiser.state:
            velocity = optimiser.state[VELOCITY][: len(parameters.weights)]
            if self.velocity == "reset":
                velocity.zero_()
            else:
                velocity.mul_(root)
