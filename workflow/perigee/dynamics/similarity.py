"""The similarity of networks: of their weights, and as members of an ensemble.

Lobacheva et al. 2021, Section 6 ("Minima achieved at different training periods").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHUNK_BYTES = 256 * 2**20
"""The bytes of checkpoints, in float64, that are in memory at a time."""


class Vectors(Protocol):
    """Checkpoints on the disk.

    Attributes:
        epochs: the epoch of each checkpoint.
        weights: how many numbers of each are compared, the first ones.
    """

    @property
    def epochs(self) -> Sequence[int]:
        """The epoch of each checkpoint."""

    @property
    def weights(self) -> int:
        """The number of weights."""

    def vectors(self, epochs: Sequence[int]) -> NDArray[np.floating]:
        """The numbers of some checkpoints, (checkpoints, numbers)."""


def cosine_similarities(
    checkpoints: Vectors, references: Sequence[Floats], chunk_bytes: int = CHUNK_BYTES
) -> Floats:
    """The cosines of the angles between checkpoints and reference vectors, summed in float64.

    Args:
        checkpoints: the checkpoints, read in pieces.
        references: one or more vectors, (weights,).
        chunk_bytes: memory for checkpoints; one row and a copy of it are held at least.

    Returns:
        The cosines, (references, checkpoints); NaN where one of the two is zero or not finite.
    """
    wanted = np.stack([np.asarray(reference, dtype=np.float64) for reference in references])
    epochs, weights = checkpoints.epochs, checkpoints.weights
    step = max(1, chunk_bytes // (8 * weights))
    with np.errstate(all="ignore"):
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        found = np.empty((len(wanted), len(epochs)))
        for start in range(0, len(epochs), step):
            some = checkpoints.vectors(epochs[start : start + step])
            chunk = some[:, :weights].astype(np.float64)
            norms = np.sqrt(np.einsum("ij,ij->i", chunk, chunk))
            found[:, start : start + step] = wanted @ chunk.T / norms
    cosines: Floats = np.clip(found, -1, 1)
    return cosines


def ensemble_gains(
    first: NDArray[np.floating], second: NDArray[np.floating], labels: NDArray[np.integer]
) -> Floats:
    """The gain of averaging two networks' probabilities over their mean error, by image.

    Args:
        first, second, labels: see `ensemble_test_error`.

    Returns:
        The mean of the two networks' errors at an image less the ensemble's, (images,); their mean
        is the gain in test error. NaN everywhere if a probability is not finite.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.full(len(labels), np.nan)
    average = first.astype(np.float64) + second
    alone, other, both = (one.argmax(axis=1) != labels for one in (first, second, average))
    gains: np.ndarray = (alone.astype(float) + other) / 2 - both
    return gains


def ensemble_test_error(
    first: NDArray[np.floating], second: NDArray[np.floating], labels: NDArray[np.integer]
) -> float:
    """The fraction of images that two networks misclassify by their averaged probabilities.

    Args:
        first, second: class probabilities, (images, classes).
        labels: (images,).

    Returns:
        The fraction; NaN if a probability is not finite.
    """
    average = (first.astype(np.float64) + second) / 2
    if not np.isfinite(average).all():
        return float("nan")
    return float(np.mean(average.argmax(axis=1) != labels))
