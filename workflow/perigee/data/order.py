"""The order in which a run sees its training images, and how often it updates its weights."""

from __future__ import annotations

import math

import numpy as np


def steps_per_epoch(images: int, batch_size: int, gradient: str) -> int:
    """The number of updates of the weights in an epoch.

    Args:
        images: how many training images there are.
        batch_size: images in a mini-batch; the last, smaller one of an epoch is kept.
        gradient: see `perigee.spec.RunSpec`.
    """
    return 1 if gradient == "full_batch" else math.ceil(images / batch_size)


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of ``range(images)`` that depends on (seed, epoch) only.

    It is drawn by NumPy on the CPU, so it is equal on every device and needs no state to resume.

    Args:
        images: how many training images there are.
        seed: the run's seed, from 0 to 2^32 - 1 (larger ones would repeat orders).
        epoch: counted from 0.

    Returns:
        int64, (images,).
    """
    return np.random.default_rng((seed, epoch)).permutation(images)


def mini_batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut an order into mini-batches; the last, smaller one is kept."""
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
