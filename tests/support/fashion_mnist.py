"""Small files of the format in which Fashion-MNIST is published."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

SIDE = 28


def small_files(train: int, test: int) -> dict[str, np.ndarray]:
    """Random images (images, 28, 28) and labels (images,) of all ten classes, by file."""
    draws = np.random.default_rng(0)
    made = {}
    for prefix, images in (("train", train), ("t10k", test)):
        shape = (images, SIDE, SIDE)
        made[f"{prefix}-images-idx3-ubyte"] = draws.integers(0, 256, shape, dtype=np.uint8)
        made[f"{prefix}-labels-idx1-ubyte"] = (np.arange(images) % 10).astype(np.uint8)
    return made


def packed(array: np.ndarray) -> bytes:
    """An array of bytes as an idx file: two zeros, the type 8, the dimensions, sizes, elements."""
    sizes = b"".join(struct.pack(">i", size) for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_files(folder: Path, arrays: Mapping[str, np.ndarray], compressed: bool = True) -> None:
    """Write arrays as idx files, compressed or not, into a folder that is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(packed(array)))
        else:
            (folder / name).write_bytes(packed(array))


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The SHA-256 of the files' contents."""
    return {name: hashlib.sha256(packed(array)).hexdigest() for name, array in arrays.items()}
