"""Data sets whose images fit in memory, as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perigee.errors import PerigeeError


@dataclass(frozen=True)
class ArraySplit:
    """The images and labels of one split, as they are stored.

    Attributes:
        images: uint8, (images, channels, height, width).
        labels: unsigned integers, (images,), classes counted from 0.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ArrayDataset:
    """A data set's images and labels as they are stored.

    Attributes:
        splits: the splits by name; "train" and "test" are among them.
        classes: how many classes there are.
        channel_means, channel_stds: per channel, in the images' own grey levels; images are
            normalised by them.
        origin: where the images come from, in words.
    """

    splits: Mapping[str, ArraySplit]
    classes: int
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    origin: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of an image: (channels, height, width)."""
        channels, height, width = self.splits["train"].images.shape[1:]
        return channels, height, width

    @property
    def sha256(self) -> str:
        """The SHA-256 of images and labels, split by split."""
        arrays = (array for split in self.splits.values() for array in (split.images, split.labels))
        content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        return hashlib.sha256(content).hexdigest()

    def require(self, sha256: str, name: str) -> None:
        """Check that this is the data set that the project knows by a name.

        Images, splits and order come from other packages, and may differ in another version of
        these.

        Raises:
            PerigeeError: the arrays have another checksum.
        """
        if self.sha256 != sha256:
            raise PerigeeError(
                f"Data set '{name}': the images made of {self.origin} have a wrong checksum "
                f"({self.sha256[:16]}... instead of {sha256[:16]}...); install the versions of "
                "scikit-learn and NumPy that envs/perigee.lock.txt names."
            )


def label_type(classes: int) -> np.dtype:
    """The smallest unsigned integers that hold the labels of so many classes."""
    return np.min_scalar_type(classes - 1)
