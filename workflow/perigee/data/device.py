"""A data set on the device: normalised, cut into mini-batches and shuffled there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perigee.data.arrays import ArrayDataset
from perigee.data.order import epoch_order


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

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches in stored order; the last, smaller one is kept."""
        yield from zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True)

    def shuffled_batches(
        self, batch_size: int, seed: int, epoch: int, skipped: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches in the order of `epoch_order`; the last, smaller one is kept.

        The first ``skipped`` are left out, the others are as they would be.
        """
        order = torch.from_numpy(epoch_order(len(self), seed, epoch)).to(self.labels.device)
        for indices in order.split(batch_size)[skipped:]:
            yield self.images[indices], self.labels[indices]


@dataclass(frozen=True)
class DeviceDataset:
    """Both splits of a data set on one device.

    Attributes:
        train, test: the splits.
        black: the normalised value of a pixel 0, (1, channels, 1, 1).
        classes: how many classes there are.
        image_shape: (channels, height, width).
    """

    train: DeviceSplit
    test: DeviceSplit
    black: Tensor
    classes: int
    image_shape: tuple[int, int, int]

    @classmethod
    def load(
        cls,
        dataset: ArrayDataset,
        device: torch.device,
        dtype: torch.dtype,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> DeviceDataset:
        """Copy the whole data set to the device and normalise it there, channel by channel."""
        shape = (1, -1, 1, 1)
        means = torch.tensor(dataset.channel_means, device=device, dtype=dtype).view(shape)
        stds = torch.tensor(dataset.channel_stds, device=device, dtype=dtype).view(shape)

        def split(images: np.ndarray, labels: np.ndarray) -> DeviceSplit:
            on_device = torch.from_numpy(images).to(device=device, dtype=dtype)
            # Images of one channel count as laid out in every format, so `contiguous` would leave
            # them as they happen to be; the strides decide which kernels run, so they are set.
            normalised = torch.empty(
                on_device.shape, device=device, dtype=dtype, memory_format=memory_format
            ).copy_((on_device - means) / stds)
            return DeviceSplit(normalised, torch.from_numpy(labels).to(device, torch.int64))

        return cls(
            train=split(dataset.train_images, dataset.train_labels),
            test=split(dataset.test_images, dataset.test_labels),
            black=-means / stds,
            classes=dataset.classes,
            image_shape=dataset.image_shape,
        )
