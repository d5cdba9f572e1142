"""Digits at the size of CIFAR's images: a data set for golden runs, made by any tree's library.

Run as ``enlarged.py <folder of the data set digits> <folder to write>``. The images are real and
always there, so that what happens to images of 32x32 pixels in three channels can be compared
without CIFAR's files.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from perigee.data.arrays import ArrayDataset
from perigee.identity.products import Identity
from perigee.store.datasets import DATA
from perigee.store.writing import product_writer

TRAIN, TEST, FACTOR, CHANNELS = 120, 50, 4, 3


def enlarged(digits: ArrayDataset) -> ArrayDataset:
    """The first images, every pixel repeated to a square, in three equal channels."""
    return replace(
        digits,
        train_images=_enlarged(digits.train_images[:TRAIN]),
        train_labels=digits.train_labels[:TRAIN],
        test_images=_enlarged(digits.test_images[:TEST]),
        test_labels=digits.test_labels[:TEST],
        channel_means=digits.channel_means * CHANNELS,
        channel_stds=digits.channel_stds * CHANNELS,
    )


def _enlarged(images: np.ndarray) -> np.ndarray:
    rows = np.repeat(images, FACTOR, axis=2)
    return np.repeat(np.repeat(rows, FACTOR, axis=3), CHANNELS, axis=1)


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    with product_writer(out, Identity("dataset", "enlarged", {}, "", {})) as product:
        enlarged(ArrayDataset.load(source / DATA)).save(product.aside / DATA)
