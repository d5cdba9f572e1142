"""The base class of measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer


class Measure:
    """A record of quantities during a run; this base class records nothing.

    A measure's rows are appended to a file of its own as they come. It may look at the network at
    all moments, but must leave weights, statistics and optimiser unchanged.

    Args:
        trainer: the run.

    Attributes:
        row: the type of a row of the file. Rows that belong to epochs have a field ``epoch``; rows
            without that field belong to steps.
        state: the tensors by name that a resumed run needs to continue measuring.
        pause: a callback that long work calls from time to time; what it raises ends the work.
    """

    row: np.dtype[Any]
    is_of_steps: ClassVar[bool] = False
    """True if the row of an epoch is made of its steps, so that it cannot be measured again."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.state: dict[str, Tensor] = {}
        self.pause: Callable[[], None] = lambda: None

    @property
    def description(self) -> dict[str, Any]:
        """The JSON values that readers of the rows need beside them."""
        return {}

    def before_update(self) -> None:
        """Look at the gradient of a step, and at the weights before it."""

    def after_update(self) -> Tensor | None:
        """Return the numbers of a step's row, on the device; None if steps have no rows."""
        return None

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray | None:
        """Return the rows of an epoch; None if it has none.

        Args:
            epoch: how many epochs have been trained; 0 is the initialisation.
            last: whether the run ends here.
        """
        return None


def real_type(trainer: Trainer) -> str:
    """The NumPy type that a run's numbers are kept in."""
    return "<f8" if trainer.spec.precision == "float64" else "<f4"
