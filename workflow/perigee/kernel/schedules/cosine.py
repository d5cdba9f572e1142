"""Cosine decay to zero."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from perigee.kernel.schedules.base import Schedule


class Cosine(Schedule):
    """Half a cosine from 1 at epoch 0 to 0 at ``horizon``, then 0 (Kodryan et al. 2022, Section 6).

    The learning rate is constant within an epoch (our choice).

    Args:
        steps_per_epoch: updates of the weights in an epoch.
        horizon: epochs until zero, at least 1.
    """

    def __init__(self, steps_per_epoch: int, *, horizon: int) -> None:
        super().__init__(steps_per_epoch)
        self.horizon = horizon

    def factors(self, epoch: int) -> NDArray[np.float64]:
        """The cosine's value, the same in each step of the epoch, (steps,)."""
        factor = 0.5 * (1.0 + math.cos(math.pi * min(epoch / self.horizon, 1.0)))
        return np.full(self.steps_per_epoch, factor)
