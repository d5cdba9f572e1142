"""Losses, errors and norms at the fixed weights after every epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perigee.dynamics import sphere
from perigee.measures.base import Measure
from perigee.training.running_statistics import running_statistics_left_alone

if TYPE_CHECKING:
    from perigee.training.flat import FlatParameters
    from perigee.training.trainer import Trainer

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
    """A row an epoch: ``epoch`` and `COLUMNS`.

    ``train_loss`` (of what training minimises, label smoothing included: our choice) and
    ``train_error`` are means over the training images, ``gradient_norm`` is the mean over
    mini-batches of the norm of the gradient w.r.t. the scale-invariant weights (each counts once,
    our choice for the last, smaller one). ``learning_rate`` is that of the epoch that follows. Test
    loss and error are taken in eval mode.
    """

    row = np.dtype([("epoch", "<i4"), *((name, "<f8") for name in COLUMNS)])

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray:
        """The row of the present weights."""
        trainer = self.trainer
        loss, error, gradient_norm = train_pass(trainer, "weights_gradient", self.pause)
        test_loss, test_error = test_pass(trainer, self.pause)
        # NumPy's float, for which a division by a norm of 0 is a result and not an error.
        norm = np.float64(torch.linalg.vector_norm(trainer.parameters.weights).item())
        rate = trainer.learning_rate(epoch)
        with np.errstate(all="ignore"):
            derived = (
                sphere.effective_learning_rate(rate, norm),
                sphere.effective_gradient_norm(gradient_norm, norm),
                sphere.effective_step_size(rate, gradient_norm, norm),
            )
        numbers = (loss, error, gradient_norm, test_loss, test_error, norm, rate, *derived)
        return np.array([(epoch, *numbers)], self.row)


def train_pass(
    trainer: Trainer, gradient: str, pause: Callable[[], None]
) -> tuple[float, float, float]:
    """Loss, error and gradient norm in one pass over the training set at fixed weights.

    Mini-batches are taken in stored order (our choice), so they are the same after every epoch
    and in every run, and without augmentation (our choice). BatchNorm uses batch statistics, as in
    training, and keeps its running statistics.

    Args:
        trainer: the run; its gradient is overwritten.
        gradient: name of the part of `FlatParameters` whose norm is taken.
        pause: called after every mini-batch; what it raises ends the pass.

    Returns:
        The mean loss and share of errors over images, and the mean norm over mini-batches.
    """
    task, model, parameters = trainer.task, trainer.model, trainer.parameters
    totals = _totals(trainer, 3)
    batches = 0
    model.train()
    with running_statistics_left_alone(model):
        for batch in task.batches("train"):
            parameters.gradient.zero_()
            outputs = model(batch.inputs)
            loss = task.loss(outputs, batch.targets)
            (loss / batch.count).backward()
            trainer.ranks.sum_(parameters.gradient)
            totals[0] += loss.detach()
            totals[1] += task.errors(outputs, batch.targets)
            totals[2] += _norm(parameters, gradient) / trainer.ranks.world
            batches += 1
            pause()
    trainer.ranks.sum_(totals)
    images = task.sizes["train"]
    loss_sum, errors, norms = totals.tolist()
    return loss_sum / images, errors / images, norms / batches


@torch.no_grad()
def test_pass(trainer: Trainer, pause: Callable[[], None]) -> tuple[float, float]:
    """Mean loss and share of errors over the test set in eval mode (running statistics)."""
    task, model = trainer.task, trainer.model
    totals = _totals(trainer, 2)
    model.eval()
    for batch in task.batches("test"):
        outputs = model(batch.inputs)
        totals[0] += task.test_loss(outputs, batch.targets)
        totals[1] += task.errors(outputs, batch.targets)
        pause()
    trainer.ranks.sum_(totals)
    loss, errors = totals.div(task.sizes["test"]).tolist()
    return loss, errors


def _totals(trainer: Trainer, count: int) -> Tensor:
    return torch.zeros(count, device=trainer.execution.device, dtype=torch.float64)


def _norm(parameters: FlatParameters, part: str) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(getattr(parameters, part))
    return norm
