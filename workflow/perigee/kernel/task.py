"""The part of a task that the trainer and the measures know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A mini-batch, or this process's part of one that several processes share.

    Attributes:
        inputs: what the network is given, such as images (images, channels, height, width).
        targets: what it is to learn, such as labels (images,).
        count: number of images in the whole mini-batch, over all processes.
        share: the weight of the mini-batch's mean loss in the step's loss.
    """

    inputs: Tensor
    targets: Tensor
    count: int
    share: float = 1.0


class Task(Protocol):
    """The learning problem of a run.

    Attributes:
        sizes: how many images each split has, by its name.
        classes: how many classes there are.
        image_shape: (channels, height, width).
        steps_per_epoch: updates of the weights in an epoch.
    """

    sizes: Mapping[str, int]
    classes: int
    image_shape: tuple[int, int, int]
    steps_per_epoch: int

    def training_steps(self, epoch: int, taken: int) -> Iterator[Iterable[Batch]]:
        """The mini-batches of each step of an epoch, augmented, in the order of training.

        The order is a function of the run's seed and the epoch, and the augmentation one of seed,
        epoch and image, whatever workers and processes there are.

        Args:
            epoch: counted from 0.
            taken: how many steps to skip at the beginning; nothing is loaded for them.
        """

    def batches(self, split: str) -> Iterator[Batch]:
        """The mini-batches of a split in stored order, without augmentation."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The training loss, summed over images."""

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The number of images that are classified wrongly."""

    def test_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss by which a test set is judged, summed over images."""
