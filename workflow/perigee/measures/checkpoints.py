"""The measure ``checkpoints``: the weights after some epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from perigee.kernel.names import MODEL
from perigee.measures.base import Measure, real_type

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer

UNTRACKED = "num_batches_tracked"
"""The BatchNorm buffer that is left out, since nothing depends on it."""


class Checkpoints(Measure):
    """A row per kept epoch: ``epoch``, and everything needed to continue training as one vector.

    The vector holds the scale-invariant weights first, then the other trained parameters,
    BatchNorm's statistics, and the states of optimiser and constraint.

    Args:
        trainer: the run.
        interval: epochs between kept checkpoints; those of epoch 0 and the last are kept too.
    """

    def __init__(self, trainer: Trainer, *, interval: int) -> None:
        super().__init__(trainer)
        self._interval = interval
        self._shapes = {name: value.shape for name, value in self._tensors().items()}
        width = sum(math.prod(shape) for shape in self._shapes.values())
        self.row = np.dtype([("epoch", "<i4"), ("values", real_type(trainer), (width,))])

    @property
    def description(self) -> dict[str, Any]:
        """The parts of the vector in order: name, shape, and whether it is scale-invariant."""
        invariant = {MODEL + name for name in self.trainer.parameters.weight_names}
        return {
            "parts": [
                {"name": name, "shape": list(shape), "scale_invariant": name in invariant}
                for name, shape in self._shapes.items()
            ]
        }

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray | None:
        """Return the present state if this epoch's checkpoint is kept."""
        if epoch % self._interval and not last:
            return None
        row = np.empty(1, self.row)
        row["epoch"] = epoch
        row["values"] = np.concatenate([v.numpy().ravel() for v in self._tensors().values()])
        return row

    def _tensors(self) -> dict[str, Tensor]:
        state = self.trainer.state()
        trained = [MODEL + name for name in self.trainer.parameters.names]
        frozen = {
            MODEL + name
            for name, parameter in self.trainer.model.named_parameters()
            if not parameter.requires_grad
        }
        others = [n for n in state if n not in trained and n not in frozen and UNTRACKED not in n]
        return {name: state[name] for name in (*trained, *others)}
