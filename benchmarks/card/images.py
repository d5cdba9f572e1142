"""Fashion-MNIST from its files, without the packages that the library needs to download it."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

from perigee.data.arrays import ArrayDataset, ArraySplit

BORDER, CLASSES = 2, 10
CHANNEL_MEAN, CHANNEL_STD = 255 * 0.2860, 255 * 0.3530
"""The border, and what images are normalised by, of `perigee.data.fashion_mnist`."""


def fashion_mnist_in(folder: Path) -> ArrayDataset:
    """The data set, as `perigee.data.fashion_mnist.build` makes it; its checksum is not verified.

    Args:
        folder: the folder of the four files, compressed or not.

    Raises:
        SystemExit: one is missing.
    """

    def array(name: str) -> np.ndarray:
        compressed, plain = folder / f"{name}.gz", folder / name
        stored = compressed.read_bytes() if compressed.exists() else plain.read_bytes()
        content = gzip.decompress(stored) if compressed.exists() else stored
        shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
        elements = np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape))
        return elements.reshape([int(size) for size in shape])

    def split(prefix: str) -> ArraySplit:
        images = array(f"{prefix}-images-idx3-ubyte")[:, None]
        around = ((0, 0), (0, 0), (BORDER, BORDER), (BORDER, BORDER))
        return ArraySplit(np.pad(images, around), array(f"{prefix}-labels-idx1-ubyte"))

    try:
        splits = {"train": split("train"), "test": split("t10k")}
    except FileNotFoundError as error:
        sys.exit(f"Fashion-MNIST is not complete: {error}")
    return ArrayDataset(splits, CLASSES, (CHANNEL_MEAN,), (CHANNEL_STD,), "Fashion-MNIST")


def save(dataset: ArrayDataset, path: Path) -> None:
    """Write the images to one file, for processes that train on them."""
    arrays = {
        f"{split}_{kind}": getattr(images, kind)
        for split, images in dataset.splits.items()
        for kind in ("images", "labels")
    }
    np.savez(path, means=dataset.channel_means, stds=dataset.channel_stds, **arrays)


def loaded(path: Path) -> ArrayDataset:
    """The data set that `save` wrote."""
    with np.load(path) as kept:
        splits = {
            split: ArraySplit(kept[f"{split}_images"], kept[f"{split}_labels"])
            for split in ("train", "test")
        }
        means, stds = tuple(kept["means"].tolist()), tuple(kept["stds"].tolist())
    return ArrayDataset(splits, CLASSES, means, stds, str(path))
