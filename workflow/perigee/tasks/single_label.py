"""Losses and errors, which all tasks with one label per image share."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from perigee import registry
from perigee.kernel.execution import Execution
from perigee.spec import RunSpec


class SingleLabel:
    """The base class of tasks that classify images.

    Args:
        spec: the run.
    """

    def __init__(self, spec: RunSpec) -> None:
        self._loss = partial(registry.load(spec.loss), **spec.loss.parameters)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The run's loss, summed over images."""
        loss: Tensor = self._loss(outputs, targets)
        return loss

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The number of images that are classified wrongly."""
        return (outputs.detach().argmax(dim=1) != targets).sum()

    def test_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy, summed over images, whatever training minimises (our choice)."""
        return functional.cross_entropy(outputs, targets, reduction="sum")


class Normalisation:
    """The normalisation of each channel by its mean and standard deviation, on the device.

    Args:
        means, stds: per channel, in the images' own grey levels.
        execution: where and how to compute.

    Attributes:
        black: the normalised value of a pixel 0, (1, channels, 1, 1).
    """

    def __init__(
        self, means: tuple[float, ...], stds: tuple[float, ...], execution: Execution
    ) -> None:
        shape = (1, -1, 1, 1)
        device, dtype = execution.device, execution.dtype
        self._means = torch.tensor(means, device=device, dtype=dtype).view(shape)
        self._stds = torch.tensor(stds, device=device, dtype=dtype).view(shape)
        self._execution = execution
        self.black = -self._means / self._stds

    def __call__(self, images: Tensor) -> Tensor:
        """Return normalised images in the run's precision and memory layout.

        Args:
            images: uint8, (images, channels, height, width); if they are in page-locked memory,
                they are copied while other work continues.
        """
        execution = self._execution
        # Bytes are copied and then converted on the device: they are a quarter of the size.
        levels = images.to(execution.device, non_blocking=True).to(execution.dtype)
        # Images of one channel count as laid out in every format, so `contiguous` would leave
        # them as they happen to be; the strides decide which kernels run, so they are set.
        return torch.empty(
            levels.shape,
            device=execution.device,
            dtype=execution.dtype,
            memory_format=execution.memory_format,
        ).copy_((levels - self._means) / self._stds)
