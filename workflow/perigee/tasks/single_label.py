"""What tasks have in common that give every image one label: their losses and errors."""

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
        """The sum over images of the run's loss."""
        loss: Tensor = self._loss(outputs, targets)
        return loss

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How many images are classified wrongly."""
        return (outputs.detach().argmax(dim=1) != targets).sum()

    def test_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over images of the cross-entropy, whatever training minimises (our choice)."""
        return functional.cross_entropy(outputs, targets, reduction="sum")


class Normalisation:
    """Brings images to the device, and each of their channels to a mean and a deviation.

    Args:
        means, stds: per channel, in the images' own grey levels.
        execution: where and how to compute.

    Attributes:
        black: what becomes of a pixel 0, (1, channels, 1, 1).
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
        """Normalised images in the run's precision and memory layout.

        Args:
            images: uint8, (images, channels, height, width); if they lie in page-locked memory,
                they are copied while other work goes on.
        """
        execution = self._execution
        # Bytes are copied, and converted on the device: they are a quarter of the numbers.
        levels = images.to(execution.device, non_blocking=True).to(execution.dtype)
        # Images of one channel count as laid out in every format, so `contiguous` would leave
        # them as they happen to be; the strides decide which kernels run, so they are set.
        return torch.empty(
            levels.shape,
            device=execution.device,
            dtype=execution.dtype,
            memory_format=execution.memory_format,
        ).copy_((levels - self._means) / self._stds)
