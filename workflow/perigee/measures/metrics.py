"""The measure ``metrics``: losses, errors and norms at the fixed weights after every epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perigee.dynamics import sphere
from perigee.measures.base import Measure
from perigee.measures.passes import TestPass, TrainPass, weight_norm

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer

COLUMNS = (
    "train_loss",
    "train_error",
    "gradient_norm",
    "test_loss",
    "test_error",
    "weight_norm",
    "learning_rate",
    "effective_learning_rate",
    "effective_gradient_norm",
    "effective_step_size",
)


class Metrics(Measure):
    """A row per epoch: ``epoch`` and `COLUMNS`.

    ``train_loss`` (the loss that training minimises, label smoothing included: our choice) and
    ``train_error`` are means over the training images; ``gradient_norm`` is the mean over
    mini-batches of the norm of the gradient w.r.t. the scale-invariant weights (each mini-batch
    counts once, our choice for the last, smaller one). ``learning_rate`` is that of the next epoch.
    Test loss and error are measured in eval mode.
    """

    row = np.dtype([("epoch", "<i4"), *((name, "<f8") for name in COLUMNS)])

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        self._train_pass = TrainPass(trainer, "weights_gradient")
        self._test_pass = TestPass(trainer)

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray:
        """Return the row of the present weights."""
        train = self._train_pass(self.pause)
        return self.row_of(epoch, train, self._test_pass(self.pause))

    def row_of(
        self, epoch: int, train: tuple[float, float, float], test: tuple[float, float]
    ) -> np.ndarray:
        """Return the row of an epoch.

        Args:
            epoch: how many epochs have been trained.
            train, test: see `perigee.measures.passes.TrainPass` and `TestPass`.
        """
        loss, error, gradient_norm = train
        test_loss, test_error = test
        norm = weight_norm(self.trainer)
        rate = self.trainer.learning_rate(epoch)
        with np.errstate(all="ignore"):
            derived = (
                sphere.effective_learning_rate(rate, norm),
                sphere.effective_gradient_norm(gradient_norm, norm),
                sphere.effective_step_size(rate, gradient_norm, norm),
            )
        numbers = (loss, error, gradient_norm, test_loss, test_error, norm, rate, *derived)
        return np.array([(epoch, *numbers)], self.row)
