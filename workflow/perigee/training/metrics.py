"""What is measured of a network at fixed weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from perigee.data.device import DeviceSplit
from perigee.errors import PerigeeError
from perigee.training.flat import FlatParameters

EVALUATION_BATCH = 2048
"""Images a forward pass in eval mode takes; without influence on the metrics."""


@dataclass(frozen=True)
class TrainMetrics:
    """Over the whole training set.

    Attributes:
        loss: mean over the images of what training minimises, label smoothing included (our
            choice).
        error: fraction of images classified wrongly.
        gradient_norm: g, the norm of a mini-batch's gradient w.r.t. the scale-invariant weights,
            as the mean over mini-batches (each counts once, our choice for the last, smaller one).
    """

    loss: float
    error: float
    gradient_norm: float


@dataclass(frozen=True)
class TestMetrics:
    """Over the whole test set.

    Attributes:
        loss: mean cross-entropy, whatever training minimises (our choice).
        error: fraction of images classified wrongly.
    """

    loss: float
    error: float


@contextmanager
def running_statistics_left_alone(model: nn.Module) -> Iterator[None]:
    """Within, BatchNorm in train mode normalises by the batch and keeps its running statistics."""
    tracking = [
        module for module in model.modules() if getattr(module, "track_running_stats", False)
    ]
    for module in tracking:
        module.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True  # type: ignore[assignment]


def require_enough_images(model: nn.Module, split: DeviceSplit, batch_size: int) -> None:
    """Refuse a last mini-batch of one image if BatchNorm gets one value a channel of it.

    Args:
        model: nothing of its state changes.
        split: the training set.
        batch_size: images in a mini-batch.

    Raises:
        PerigeeError: the network cannot normalise the last mini-batch.
    """
    if (len(split) - 1) % batch_size:
        return
    model.train()
    try:
        with torch.no_grad(), running_statistics_left_alone(model):
            model(split.images[:1])
    except ValueError as error:
        raise PerigeeError(
            f"Key 'batch_size' is {batch_size}, so that of {len(split)} training images the last "
            "mini-batch has one, too few for BatchNorm in this network; choose another."
        ) from error


def train_metrics(
    model: nn.Module,
    parameters: FlatParameters,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    split: DeviceSplit,
    batch_size: int,
    between_batches: Callable[[], None] = lambda: None,
) -> TrainMetrics:
    """Loss, error and gradient norm in one pass over the training set at fixed weights.

    Mini-batches are taken in stored order (our choice), so they are the same after every epoch
    and in every run, and without augmentation (our choice). BatchNorm uses batch statistics, as in
    training.

    Args:
        model: whose weights are measured; nothing of its state changes.
        parameters: of the model; the gradient is overwritten.
        loss_of: what training minimises, of logits and labels.
        split: the training set.
        batch_size: images in a mini-batch.
        between_batches: called after every mini-batch; what it raises ends the pass.
    """
    loss_sum, errors, norm_sum = torch.zeros(3, device=split.images.device, dtype=torch.float64)
    batches = 0
    model.train()
    with running_statistics_left_alone(model):
        for images, labels in split.batches(batch_size):
            parameters.gradient.zero_()
            logits = model(images)
            loss = loss_of(logits, labels)
            loss.backward()
            loss_sum += loss.detach() * len(labels)
            errors += _errors(logits, labels)
            norm_sum += torch.linalg.vector_norm(parameters.weights_gradient)
            batches += 1
            between_batches()
    totals = torch.stack((loss_sum / len(split), errors / len(split), norm_sum / batches)).tolist()
    return TrainMetrics(*totals)


@torch.no_grad()
def test_metrics(model: nn.Module, split: DeviceSplit) -> TestMetrics:
    """Loss and error over the test set in eval mode (running statistics)."""
    loss_sum, errors = torch.zeros(2, device=split.images.device, dtype=torch.float64)
    model.eval()
    for images, labels in split.batches(EVALUATION_BATCH):
        logits = model(images)
        loss_sum += functional.cross_entropy(logits, labels, reduction="sum")
        errors += _errors(logits, labels)
    return TestMetrics(*torch.stack((loss_sum, errors)).div(len(split)).tolist())


def _errors(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.detach().argmax(dim=1) != labels).sum()
