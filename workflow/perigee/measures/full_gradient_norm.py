"""The measure ``full_gradient_norm``: the norm of the gradient w.r.t. all trained weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perigee.measures.base import Measure
from perigee.measures.passes import TrainPass

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer


class FullGradientNorm(Measure):
    """A row per epoch: ``epoch`` and ``full_gradient_norm``.

    The norm is the mean over mini-batches (`perigee.measures.passes`), the regular gradient norm of
    standard networks (Kodryan et al. 2022, Section 4).
    """

    row = np.dtype([("epoch", "<i4"), ("full_gradient_norm", "<f8")])

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        self._train_pass = TrainPass(trainer, "gradient")

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray:
        """Return the row of the present weights."""
        *_, norm = self._train_pass(self.pause)
        return np.array([(epoch, norm)], self.row)
