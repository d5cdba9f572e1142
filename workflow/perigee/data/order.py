"""The order in which a run sees its training images."""

from __future__ import annotations

import numpy as np


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
