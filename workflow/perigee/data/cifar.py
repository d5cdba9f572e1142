"""CIFAR-10 through torchvision, which downloads it and verifies its checksums."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import numpy as np

from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError

CHANNEL_MEANS = (0.4914, 0.4822, 0.4465)
CHANNEL_STDS = (0.2023, 0.1994, 0.2010)
"""Of pixels in [0, 1], as in the official implementation of Lobacheva et al. 2021."""


def build_cifar10(folder: Path) -> ArrayDataset:
    """The 50,000 training and 10,000 test images, 3x32x32.

    Args:
        folder: where torchvision keeps or puts the download.

    Raises:
        PerigeeError: the files are neither there nor to be had, or are damaged.
    """
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(folder, train=train, download=True) for train in (True, False))
    except (URLError, OSError, RuntimeError) as error:
        raise PerigeeError(
            f"Data set 'cifar10': folder {folder} (key 'data' of config/config.yaml) does not hold "
            f"the verified files and downloading them failed ({error}); put "
            "cifar-10-python.tar.gz there or connect to the network."
        ) from error
    return ArrayDataset(
        train_images=_channels_first(train.data),
        train_labels=np.array(train.targets, dtype=np.uint8),
        test_images=_channels_first(test.data),
        test_labels=np.array(test.targets, dtype=np.uint8),
        classes=10,
        channel_means=tuple(255 * mean for mean in CHANNEL_MEANS),
        channel_stds=tuple(255 * std for std in CHANNEL_STDS),
        origin="CIFAR-10, python version, checksums verified by torchvision",
    )


def _channels_first(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
