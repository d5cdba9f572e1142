"""Classification of images that are read from files as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from perigee import registry
from perigee.blocks.augmentations import NoAugmentation
from perigee.data import order
from perigee.data.file_datasets import FileDataset
from perigee.data.transforms import CentreCrop, Transform
from perigee.errors import PerigeeError
from perigee.kernel.execution import Execution
from perigee.kernel.ranks import Ranks
from perigee.kernel.task import Batch
from perigee.spec import RunSpec
from perigee.tasks.single_label import Normalisation, SingleLabel
from perigee.tasks.streaming import StreamedSplit

if TYPE_CHECKING:
    from perigee.data.saving import AnyDataset


class StreamedClassification(SingleLabel):
    """Single-label classification of images in files, decoded again for every use.

    Decoding and augmentation are done on the CPU, optionally by worker processes; the bytes are
    copied to the device and normalised there. An image that cannot be read, or whose size is not
    the one listed, ends the run between two steps, with an error that names the file. The state is
    not saved then: the run resumes from the last saved state, and loses at most one save interval.

    Args:
        spec: the run.
        dataset: the data set that the spec names.
        execution: where and how to compute, and how many workers decode.
        ranks: the processes that share the run; each of them decodes only its own images.
        epoch_order: the order of the training images in an epoch; None draws it from the run's
            seed (`perigee.data.order.epoch_order`).

    Raises:
        PerigeeError: the data set consists of arrays.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: AnyDataset,
        execution: Execution,
        ranks: Ranks,
        epoch_order: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        if not isinstance(dataset, FileDataset):
            raise PerigeeError(
                "Key 'task.name' is 'streamed_classification', which reads files, but the data set "
                "given consists of arrays; choose classification."
            )
        super().__init__(spec)
        self._streams = {
            name: StreamedSplit(
                split,
                dataset.folders[name],
                execution.workers,
                execution.prefetch,
                execution.pin_memory,
            )
            for name, split in dataset.splits.items()
        }
        self.sizes = {name: len(stream) for name, stream in self._streams.items()}
        self.classes, self.image_shape = dataset.classes, dataset.image_shape
        self._spec, self._ranks, self._device = spec, ranks, execution.device
        images = self.sizes["train"]
        self.steps_per_epoch = order.steps_per_epoch(images, spec.batch_size, spec.gradient)
        self._order = epoch_order or partial(order.epoch_order, images, spec.seed)
        self._centre = CentreCrop(dataset.resolution, dataset.resize)
        self._normalised = Normalisation(dataset.channel_means, dataset.channel_stds, execution)

    def training_steps(self, epoch: int, taken: int) -> Iterator[Iterable[Batch]]:
        """See `perigee.kernel.task.Task.training_steps`."""
        transform = self._augmentation(epoch)
        if self._spec.gradient == "full_batch":
            if not taken:
                yield self._streamed("train", self._stored_order("train"), transform, whole=True)
            return
        left = order.mini_batches(self._order(epoch), self._spec.batch_size)[taken:]
        for batch in self._streamed("train", left, transform):
            yield [batch]

    def batches(self, split: str) -> Iterator[Batch]:
        """See `perigee.kernel.task.Task.batches`."""
        return self._streamed(split, self._stored_order(split), self._centre)

    def _augmentation(self, epoch: int) -> Transform:
        block = self._spec.augmentation
        if isinstance(block, NoAugmentation):
            return self._centre
        transform: Transform = registry.load(block)(
            self._centre.resolution, self._spec.seed, epoch, **block.parameters
        )
        return transform

    def _stored_order(self, split: str) -> list[np.ndarray]:
        return order.mini_batches(np.arange(self.sizes[split]), self._spec.batch_size)

    def _streamed(
        self,
        split: str,
        mini_batches: Sequence[np.ndarray],
        transform: Transform,
        whole: bool = False,
    ) -> Iterator[Batch]:
        """Yield this process's part of each mini-batch, on the device.

        Args:
            split: name of the split.
            mini_batches: the image numbers of each mini-batch.
            transform: the transform of the images.
            whole: whether the mini-batches together make one step.
        """
        own = [self._ranks.share(images) for images in mini_batches]
        decoded = self._streams[split].batches(own, transform)
        for images, (pixels, labels) in zip(mini_batches, decoded, strict=True):
            share = len(images) / self.sizes[split] if whole else 1.0
            targets = labels.to(self._device, non_blocking=True)
            yield Batch(self._normalised(pixels), targets, len(images), share)
