"""Passes over a split at fixed weights, and the weights' norm, from which measures are made.

Fork rules depend on them, so the code of a fork includes this module but not the measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perigee.kernel.running_statistics import running_statistics_left_alone

if TYPE_CHECKING:
    from perigee.kernel.flat import FlatParameters
    from perigee.kernel.trainer import Trainer


def train_pass(
    trainer: Trainer, gradient: str, pause: Callable[[], None]
) -> tuple[float, float, float]:
    """Compute loss, error and gradient norm in one pass over the training set at fixed weights.

    Mini-batches are taken in stored order (our choice), so they are the same after every epoch
    and in every run, and without augmentation (our choice). BatchNorm uses batch statistics, as in
    training, and leaves its running statistics unchanged.

    Args:
        trainer: the run; its gradient is overwritten.
        gradient: name of the part of `FlatParameters` whose norm is computed.
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
    """Compute mean loss and share of errors over the test set in eval mode (running statistics)."""
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


def weight_norm(trainer: Trainer) -> np.float64:
    """The norm of all scale-invariant weights together.

    It is a NumPy float, for which division by a norm of 0 is a result and not an error.
    """
    return np.float64(torch.linalg.vector_norm(trainer.parameters.weights).item())


def _totals(trainer: Trainer, count: int) -> Tensor:
    return torch.zeros(count, device=trainer.execution.device, dtype=torch.float64)


def _norm(parameters: FlatParameters, part: str) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(getattr(parameters, part))
    return norm
