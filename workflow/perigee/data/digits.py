"""The real 8x8 digit images that come with scikit-learn, for laptop and smoke scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from perigee.data.arrays import ArrayDataset, ArraySplit

SHA256 = {
    300: "ea5532bc75b4472a2761ff3ea484265acb2b2e6186058998a2a48c30a946d1af",
    400: "9e48160ad9b7a6247324f42618a91b084655dce0e68f6751eb83bcc23bad3a8f",
    1437: "28d636f2f47ec885bab6c1d883c883cd3f85cb5f6d0f1457558c6b672cc71adf",
}
"""The SHA-256 of the images and labels after splitting, by the number of training images.

1,437 leaves a fifth of the images for testing. With 300 or 400 the test error is larger and there
are four times as many test images, so differences of it can be told from chance (all three are our
choice: the papers do not use this set)."""

SPLIT_SEED = 0


def build(folder: Path, download: bool, *, train_images: int) -> ArrayDataset:
    """Split the 1,797 images (1x8x8, grey levels 0 to 16) into training and test images.

    The split is stratified and fixed: every run sees the same one, whatever its seed. Images are
    normalised by the mean and standard deviation over all pixels of the training images (our
    choice; the papers normalise CIFAR's channels likewise).

    Args:
        folder, download: not used, since the images come with scikit-learn.
        train_images: a key of `SHA256`; all other images are for testing.

    Raises:
        PerigeeError: the installed scikit-learn has other images, or splits them differently.
    """
    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=len(labels) - train_images,
        random_state=SPLIT_SEED,
        stratify=labels,
    )
    dataset = ArrayDataset(
        splits={
            "train": ArraySplit(images[train], labels[train]),
            "test": ArraySplit(images[test], labels[test]),
        },
        classes=10,
        channel_means=(float(images[train].mean()),),
        channel_stds=(float(images[train].std()),),
        origin=f"load_digits of scikit-learn {sklearn.__version__} (UCI optical digits, test part)",
    )
    dataset.require(SHA256[train_images], "digits")
    return dataset
