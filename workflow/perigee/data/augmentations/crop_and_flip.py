"""Random crops of padded images, and random horizontal flips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STREAM = 1
"""The key that separates these random numbers from `perigee.data.order`'s of the same two seeds."""


class CropAndFlip:
    """A random shift and, optionally, a random mirror image of every training image.

    An image gets a border of black pixels and is cropped to its own size anywhere in it, as in
    the official implementation of Lobacheva et al. 2021, which pads before it normalises. The
    random numbers depend on seed, epoch and image only, so they are equal on every device, for
    every batch size and order and for any number of processes, and need no state to resume.

    Args:
        images: how many training images there are.
        seed: the run's seed.
        black: the normalised value of a pixel 0, (1, channels, 1, 1).
        padding: width of the border in pixels; offsets of the crop are uniform in [0, 2 * padding].
        flip: whether each image is mirrored left to right with probability 1/2.
    """

    def __init__(self, images: int, seed: int, black: Tensor, *, padding: int, flip: bool) -> None:
        self._images, self._seed, self._black = images, seed, black
        self._padding, self._flip = padding, flip

    def begin_epoch(self, epoch: int) -> None:
        """Draw the random numbers of an epoch, counted from 0."""
        draws = np.random.default_rng(
            np.random.SeedSequence((self._seed, epoch), spawn_key=(STREAM,))
        )
        offsets = draws.integers(0, 2 * self._padding, size=(2, self._images, 1), endpoint=True)
        mirrored = draws.integers(0, 2, size=(self._images, 1)) * self._flip
        self._tops, self._lefts = torch.from_numpy(offsets).to(self._black.device)
        self._mirrored = torch.from_numpy(mirrored).to(self._black.device, torch.bool)

    def __call__(self, batch: Tensor, images: Tensor) -> Tensor:
        """Return the augmented mini-batch, in the memory layout of the given one.

        Args:
            batch: (images, channels, height, width).
            images: the images' numbers in the training set, int64, (images,), on its device.
        """
        count, channels, height, width = batch.shape
        padding, device = self._padding, batch.device
        padded = self._black.expand(
            count, channels, height + 2 * padding, width + 2 * padding
        ).clone()
        padded[:, :, padding : padding + height, padding : padding + width] = batch
        rows = self._tops[images] + torch.arange(height, device=device)
        columns = torch.arange(width, device=device)
        columns = self._lefts[images] + torch.where(
            self._mirrored[images], columns.flip(0), columns
        )
        image = torch.arange(count, device=device).view(-1, 1, 1, 1)
        channel = torch.arange(channels, device=device).view(1, -1, 1, 1)
        cropped = padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
        return torch.empty_like(batch).copy_(cropped)
