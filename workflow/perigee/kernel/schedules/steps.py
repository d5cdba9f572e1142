"""Step decay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perigee.kernel.schedules.base import Schedule


class Steps(Schedule):
    """Decay by ``gamma`` at each milestone (the recipe of Goyal et al.).

    Args:
        steps_per_epoch: updates of the weights in an epoch.
        milestones: epochs from which the learning rate is multiplied by ``gamma`` once more.
        gamma: the factor, greater than 0.
    """

    def __init__(self, steps_per_epoch: int, *, milestones: Sequence[int], gamma: float) -> None:
        super().__init__(steps_per_epoch)
        self.milestones, self.gamma = milestones, gamma

    def factors(self, epoch: int) -> NDArray[np.float64]:
        """Gamma to the power of the milestones reached, the same in each step of the epoch."""
        reached = sum(epoch >= milestone for milestone in self.milestones)
        return np.full(self.steps_per_epoch, self.gamma**reached)
