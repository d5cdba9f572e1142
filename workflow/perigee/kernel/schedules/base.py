"""The base class of learning-rate schedules."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from perigee.kernel.flat import FlatParameters


class Optimiser(Protocol):
    """The part of an update rule that a schedule may touch."""

    state: dict[str, Tensor]


class Schedule:
    """A learning-rate schedule; this base class keeps the rate constant.

    Args:
        steps_per_epoch: updates of the weights in an epoch.
    """

    def __init__(self, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch

    def factors(self, epoch: int) -> NDArray[np.float64]:
        """The factor of the base learning rate in each step of an epoch, (steps,).

        Args:
            epoch: counted from 0.
        """
        return np.ones(self.steps_per_epoch)

    def begin_epoch(self, epoch: int, parameters: FlatParameters, optimiser: Optimiser) -> None:
        """Change weights or optimiser state at an epoch's start; this base class does nothing.

        It is called once before the first step of an epoch.
        """
