"""A data set as one array file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from perigee.errors import PerigeeError

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class ArrayDataset:
    """Images and labels as they are stored.

    Attributes:
        train_images, test_images: uint8, (images, channels, height, width).
        train_labels, test_labels: uint8, (images,), classes counted from 0.
        classes: how many classes there are.
        channel_means, channel_stds: per channel, in the images' own grey levels; what images are
            normalised by.
        origin: where the images come from, in words.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    origin: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def sha256(self) -> str:
        """Of the four arrays, in the order of `ARRAYS`."""
        content = b"".join(np.ascontiguousarray(getattr(self, name)).tobytes() for name in ARRAYS)
        return hashlib.sha256(content).hexdigest()

    def require(self, sha256: str, name: str) -> None:
        """Prove that this is the data set that the project means by a name.

        Its images, their split and their order come out of other packages, of which another
        version may give others.

        Raises:
            PerigeeError: the arrays have another checksum.
        """
        if self.sha256 != sha256:
            raise PerigeeError(
                f"Data set '{name}': the images made of {self.origin} have a wrong checksum "
                f"({self.sha256[:16]}... instead of {sha256[:16]}...); install the versions of "
                "scikit-learn and NumPy that envs/perigee.lock.txt names."
            )

    def save(self, path: Path) -> None:
        """Write one safetensors file: the four arrays, and the rest as its metadata."""
        described = {
            "classes": self.classes,
            "channel_means": self.channel_means,
            "channel_stds": self.channel_stds,
            "origin": self.origin,
        }
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        save_file(arrays, path, metadata={"dataset": json.dumps(described)})

    @classmethod
    def load(cls, path: Path) -> ArrayDataset:
        """Read what `save` wrote.

        Raises:
            PerigeeError: the file is truncated or is no such file.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                described = json.loads(file.metadata()["dataset"])
                arrays = {name: file.get_tensor(name) for name in ARRAYS}
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise PerigeeError(
                f"{path} is not a readable data set ({error}); delete its folder and run again "
                "to have it built anew."
            ) from error
        return cls(
            **arrays,
            classes=described["classes"],
            channel_means=tuple(described["channel_means"]),
            channel_stds=tuple(described["channel_stds"]),
            origin=described["origin"],
        )
