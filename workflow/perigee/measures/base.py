"""The base class of measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer


class Measure:
    """Watches a run; this base class sees nothing.

    A measure's rows stand in a file of its own, to which they are appended as they come. It may
    look at the network at all moments, but must leave weights, statistics and optimiser as they
    are.

    Args:
        trainer: the run.

    Attributes:
        row: the type of a row of the file. Rows that belong to epochs have a field ``epoch``; rows
            without that field are rows of steps.
        state: tensors by name that a resumed run needs to go on measuring.
        pause: to be called now and then by work that takes long; what it raises ends the work.
    """

    row: np.dtype[Any]

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.state: dict[str, Tensor] = {}
        self.pause: Callable[[], None] = lambda: None

    @property
    def description(self) -> dict[str, Any]:
        """JSON values that readers of the rows need beside them."""
        return {}

    def before_update(self) -> None:
        """Look at the gradient of a step, and at the weights before it."""

    def after_update(self) -> Tensor | None:
        """The numbers of a step's row, on the device; None if steps have no rows."""
        return None

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray | None:
        """The rows of an epoch; None if it has none.

        Args:
            epoch: how many epochs are trained; 0 is the initialisation.
            last: whether the run ends here.
        """
        return None


def real_type(trainer: Trainer) -> str:
    """The NumPy type that a run's numbers are kept in."""
    return "<f8" if trainer.spec.precision == "float64" else "<f4"
