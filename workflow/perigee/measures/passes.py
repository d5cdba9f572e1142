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


class TrainPass:
    """Passes over the training set that give loss, error and gradient norm at fixed weights.

    Mini-batches are taken in stored order (our choice), so they are the same after every epoch
    and in every run, and without augmentation (our choice). BatchNorm uses batch statistics, as in
    training, and leaves its running statistics unchanged.

    Args:
        trainer: the run; its gradient is overwritten.
        gradient: name of the part of `FlatParameters` whose norm is computed.
        captured: whether the work on a mini-batch may be captured, which nothing that looks on
            within the network would notice.
    """

    def __init__(self, trainer: Trainer, gradient: str, captured: bool = True) -> None:
        self._trainer, self._gradient = trainer, gradient
        self._totals = _totals(trainer, 3)
        self._add = trainer.captured(self._sums, self._totals) if captured else self._sums

    def __call__(self, pause: Callable[[], None]) -> tuple[float, float, float]:
        """Return mean loss and share of errors over images, and the mean norm over mini-batches.

        Args:
            pause: called after every mini-batch; what it raises ends the pass.
        """
        trainer, model = self._trainer, self._trainer.model
        self._totals.zero_()
        batches = 0
        model.train()
        with running_statistics_left_alone(model):
            for batch in trainer.task.batches("train"):
                self._add(batch.inputs, batch.targets, batch.count)
                batches += 1
                pause()
        trainer.ranks.sum_(self._totals)
        images = trainer.task.sizes["train"]
        loss_sum, errors, norms = self._totals.tolist()
        return loss_sum / images, errors / images, norms / batches

    def _sums(self, inputs: Tensor, targets: Tensor, count: int) -> None:
        trainer, totals = self._trainer, self._totals
        task, parameters = trainer.task, trainer.parameters
        parameters.gradient.zero_()
        outputs = trainer.model(inputs)
        loss = task.loss(outputs, targets)
        (loss / count).backward()
        trainer.ranks.sum_(parameters.gradient)
        totals[0] += loss.detach()
        totals[1] += task.errors(outputs, targets)
        totals[2] += _norm(parameters, self._gradient) / trainer.ranks.world


class TestPass:
    """Passes over the test set that give loss and error in eval mode (running statistics).

    Args:
        trainer: the run.
    """

    __test__ = False
    """It is not a test, whatever pytest may think of its name."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._totals = _totals(trainer, 2)
        self._add = trainer.captured(self._sums, self._totals)

    @torch.no_grad()
    def __call__(self, pause: Callable[[], None]) -> tuple[float, float]:
        """Return the mean loss and the share of errors.

        Args:
            pause: called after every mini-batch; what it raises ends the pass.
        """
        trainer = self._trainer
        self._totals.zero_()
        trainer.model.eval()
        for batch in trainer.task.batches("test"):
            self._add(batch.inputs, batch.targets)
            pause()
        trainer.ranks.sum_(self._totals)
        loss, errors = self._totals.div(trainer.task.sizes["test"]).tolist()
        return loss, errors

    def _sums(self, inputs: Tensor, targets: Tensor) -> None:
        task, outputs = self._trainer.task, self._trainer.model(inputs)
        self._totals[0] += task.test_loss(outputs, targets)
        self._totals[1] += task.errors(outputs, targets)


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
