"""Classification of images that lie on the device: normalised, shuffled and augmented there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from perigee import registry
from perigee.data import order
from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.spec import RunSpec
from perigee.tasks.base import Batch
from perigee.training.execution import Execution
from perigee.training.ranks import Ranks


@dataclass(frozen=True)
class DeviceSplit:
    """Normalised images and their labels on one device.

    Attributes:
        images: floating point, (images, channels, height, width).
        labels: int64, (images,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Classification:
    """Single-label classification of an array data set.

    Args:
        spec: the run.
        dataset: the data set that it names.
        execution: where and how to compute.
        ranks: the processes that share the run.
        epoch_order: the order of the training images in an epoch; None draws it from the run's
            seed (`perigee.data.order.epoch_order`).
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: ArrayDataset,
        execution: Execution,
        ranks: Ranks,
        epoch_order: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        shape = (1, -1, 1, 1)
        options = {"device": execution.device, "dtype": execution.dtype}
        means = torch.tensor(dataset.channel_means, **options).view(shape)
        stds = torch.tensor(dataset.channel_stds, **options).view(shape)
        self.splits = {
            name: _on_device(split, means, stds, execution)
            for name, split in dataset.splits.items()
        }
        self.sizes = {name: len(split) for name, split in self.splits.items()}
        self.classes, self.image_shape = dataset.classes, dataset.image_shape
        self._batch_size, self._gradient, self._ranks = spec.batch_size, spec.gradient, ranks
        images = self.sizes["train"]
        self.steps_per_epoch = order.steps_per_epoch(images, spec.batch_size, spec.gradient)
        self._order = epoch_order or partial(order.epoch_order, images, spec.seed)
        self._augmentation = registry.load(spec.augmentation)(
            images, spec.seed, -means / stds, **spec.augmentation.parameters
        )
        self._loss = partial(registry.load(spec.loss), **spec.loss.parameters)

    def training_steps(self, epoch: int, taken: int) -> Iterator[Iterable[Batch]]:
        """See `perigee.tasks.base.Task.training_steps`."""
        self._augmentation.begin_epoch(epoch)
        if self._gradient == "full_batch":
            if not taken:
                in_order = np.arange(self.sizes["train"])
                yield self._augmented(order.mini_batches(in_order, self._batch_size), whole=True)
            return
        images_in_order = np.ascontiguousarray(self._order(epoch), dtype=np.int64)
        for images in order.mini_batches(images_in_order, self._batch_size)[taken:]:
            yield self._augmented([images])

    def _augmented(
        self, mini_batches: Sequence[np.ndarray], whole: bool = False
    ) -> Iterator[Batch]:
        train = self.splits["train"]
        for images in mini_batches:
            own = self._ranks.share(images)
            chosen = torch.from_numpy(own).to(train.labels.device)
            share = len(images) / len(train) if whole else 1.0
            augmented = self._augmentation(train.images[chosen], own)
            yield Batch(augmented, train.labels[chosen], len(images), share)

    def batches(self, split: str) -> Iterator[Batch]:
        """See `perigee.tasks.base.Task.batches`."""
        chosen = self.splits[split]
        pairs = zip(
            chosen.images.split(self._batch_size),
            chosen.labels.split(self._batch_size),
            strict=True,
        )
        for images, labels in pairs:
            yield Batch(self._ranks.share(images), self._ranks.share(labels), len(labels))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over images of the run's loss."""
        loss: Tensor = self._loss(outputs, targets)
        return loss

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How many images are classified wrongly."""
        return (outputs.detach().argmax(dim=1) != targets).sum()

    def test_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over images of the cross-entropy, whatever training minimises (our choice)."""
        return functional.cross_entropy(outputs, targets, reduction="sum")


def _on_device(split: ArraySplit, means: Tensor, stds: Tensor, execution: Execution) -> DeviceSplit:
    images = torch.from_numpy(split.images).to(device=execution.device, dtype=execution.dtype)
    # Images of one channel count as laid out in every format, so `contiguous` would leave
    # them as they happen to be; the strides decide which kernels run, so they are set.
    normalised = torch.empty(
        images.shape,
        device=execution.device,
        dtype=execution.dtype,
        memory_format=execution.memory_format,
    ).copy_((images - means) / stds)
    labels = torch.from_numpy(split.labels.astype(np.int64)).to(execution.device)
    return DeviceSplit(normalised, labels)
