"""Classification of images that lie on the device: normalised, shuffled and augmented there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perigee import registry
from perigee.data import order
from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError
from perigee.kernel.execution import Execution
from perigee.kernel.ranks import Ranks
from perigee.kernel.task import Batch
from perigee.spec import RunSpec
from perigee.tasks.single_label import Normalisation, SingleLabel

if TYPE_CHECKING:
    from perigee.data.saving import AnyDataset


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


class Classification(SingleLabel):
    """Single-label classification of an array data set.

    Args:
        spec: the run.
        dataset: the data set that the spec names.
        execution: where and how to compute.
        ranks: the processes that share the run.
        epoch_order: the order of the training images in an epoch; None draws it from the run's
            seed (`perigee.data.order.epoch_order`).

    Raises:
        PerigeeError: the data set consists of files.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: AnyDataset,
        execution: Execution,
        ranks: Ranks,
        epoch_order: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        if not isinstance(dataset, ArrayDataset):
            raise PerigeeError(
                "Key 'task.name' is 'classification', which reads arrays, but the data set given "
                "consists of files; choose streamed_classification."
            )
        super().__init__(spec)
        device = execution.device
        normalised = Normalisation(dataset.channel_means, dataset.channel_stds, execution)
        self.splits = {
            name: DeviceSplit(
                normalised(torch.from_numpy(split.images)),
                torch.from_numpy(split.labels.astype(np.int64)).to(device),
            )
            for name, split in dataset.splits.items()
        }
        self.sizes = {name: len(split) for name, split in self.splits.items()}
        self.classes, self.image_shape = dataset.classes, dataset.image_shape
        self._batch_size, self._gradient, self._ranks = spec.batch_size, spec.gradient, ranks
        images = self.sizes["train"]
        self.steps_per_epoch = order.steps_per_epoch(images, spec.batch_size, spec.gradient)
        self._order = epoch_order or partial(order.epoch_order, images, spec.seed)
        self._augmentation = registry.load(spec.augmentation)(
            images, spec.seed, normalised.black, **spec.augmentation.parameters
        )

    def training_steps(self, epoch: int, taken: int) -> Iterator[Iterable[Batch]]:
        """See `perigee.kernel.task.Task.training_steps`."""
        self._augmentation.begin_epoch(epoch)
        if self._gradient == "full_batch":
            if not taken:
                in_order = np.arange(self.sizes["train"])
                yield self._augmented(self._mini_batches(in_order), whole=True)
            return
        for images in self._mini_batches(self._order(epoch))[taken:]:
            yield self._augmented([images])

    def _mini_batches(self, images_in_order: np.ndarray) -> Sequence[Tensor]:
        """The numbers of each mini-batch's images, on the device, where no step waits for them."""
        in_order = torch.from_numpy(np.ascontiguousarray(images_in_order, dtype=np.int64))
        found: Sequence[Tensor] = in_order.to(self.splits["train"].labels.device).split(
            self._batch_size
        )
        return found

    def _augmented(self, mini_batches: Sequence[Tensor], whole: bool = False) -> Iterator[Batch]:
        train = self.splits["train"]
        for images in mini_batches:
            chosen = self._ranks.share(images)
            share = len(images) / len(train) if whole else 1.0
            augmented = self._augmentation(train.images[chosen], chosen)
            yield Batch(augmented, train.labels[chosen], len(images), share)

    def batches(self, split: str) -> Iterator[Batch]:
        """See `perigee.kernel.task.Task.batches`."""
        chosen = self.splits[split]
        pairs = zip(
            chosen.images.split(self._batch_size),
            chosen.labels.split(self._batch_size),
            strict=True,
        )
        for images, labels in pairs:
            yield Batch(self._ranks.share(images), self._ranks.share(labels), len(labels))
