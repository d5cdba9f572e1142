"""Random crops of padded images, and random horizontal flips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

STREAM = 1
"""Tells these random numbers from those of `perigee.data.order`, drawn from the same two seeds."""


def of_epoch(
    images: int, seed: int, epoch: int, black: Tensor, *, padding: int, flip: bool
) -> Callable[[Tensor, int], Tensor]:
    """What augments the mini-batches of one epoch, each image by random numbers of its own.

    An image gets a border of black pixels and is cropped to its own size anywhere in that, as in
    the official implementation of Lobacheva et al. 2021, which pads before it normalises. The
    random numbers depend on (seed, epoch) and the image's position in the epoch only, so they are
    equal on every device and for every batch size, and need no state to resume.

    Args:
        images: how many the epoch has.
        seed: the run's.
        epoch: counted from 0.
        black: the normalised value of a pixel 0, (1, channels, 1, 1).
        padding: width of the border in pixels; offsets of the crop are uniform in [0, 2 * padding].
        flip: whether each image is mirrored left to right with probability 1/2.

    Returns:
        A function of a mini-batch, (images, channels, height, width), and the position of its first
        image in the epoch; the images that come out are laid out in memory as those that went in.
    """
    draws = np.random.default_rng(np.random.SeedSequence((seed, epoch), spawn_key=(STREAM,)))
    offsets = draws.integers(0, 2 * padding, size=(2, images, 1), endpoint=True)
    mirrored = draws.integers(0, 2, size=(images, 1)) * flip
    tops, lefts = torch.from_numpy(offsets).to(black.device)
    flipped = torch.from_numpy(mirrored).to(black.device, torch.bool)

    def augment(batch: Tensor, first: int) -> Tensor:
        count, channels, height, width = batch.shape
        padded = black.expand(count, -1, height + 2 * padding, width + 2 * padding).clone()
        padded[:, :, padding : padding + height, padding : padding + width] = batch
        chosen = slice(first, first + count)
        rows = tops[chosen] + torch.arange(height, device=batch.device)
        columns = torch.arange(width, device=batch.device)
        columns = lefts[chosen] + torch.where(flipped[chosen], columns.flip(0), columns)
        image = torch.arange(count, device=batch.device).view(-1, 1, 1, 1)
        channel = torch.arange(channels, device=batch.device).view(1, -1, 1, 1)
        cropped = padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
        return torch.empty_like(batch).copy_(cropped)

    return augment
