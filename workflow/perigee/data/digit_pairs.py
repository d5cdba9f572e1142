"""Two real digits side by side: 100 classes at laptop scale, where the papers have CIFAR-100."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perigee.data import digits
from perigee.data.arrays import ArrayDataset, ArraySplit

SINGLE_TRAIN_IMAGES = 1437
"""The number of digits of which training pairs are made; test pairs are made of the others."""

TRAIN_PAIRS_PER_CLASS = 20
"""The number of training pairs per class: 2,000 images keep an epoch cheap, 1.6 times as long as
one of the single digits (ConvNet of width 8)."""

PAIRS_SEED = 0

SHA256 = {
    5: "11536db595267a5eec6c642171f96caf73e57a2f0a52a9dbcf8ef13ab79b610d",
    25: "ade234d676888bd1d51ed58a5256fc17cd3beea1e1a7dbb2bbf6a9f6c87606c9",
}
"""The SHA-256 of the composed images and labels, by the number of test pairs per class.

500 test images keep the metrics of an epoch cheap; 2,500 resolve smaller differences of the test
error."""


def build(folder: Path, download: bool, *, test_pairs_per_class: int) -> ArrayDataset:
    """Compose 2,000 training images, and test images, (1x8x16, grey levels 0 to 16) in 100 classes.

    Our choice: the papers do not use this data set; it stands in for CIFAR-100 at laptop scale.
    Class 10a + b is digit a on the left and digit b on the right, both from the same split of the
    data set `digits`, so that no digit of a test image is seen in training. Every class has equally
    many pairs; none occurs twice; they are the same in every run, whatever its seed, and the
    training pairs are the same however many test pairs there are. Images are normalised by the mean
    and standard deviation over all pixels of these training images.

    Args:
        folder, download: not used, since the digits come with scikit-learn.
        test_pairs_per_class: a key of `SHA256`.

    Raises:
        PerigeeError: the installed scikit-learn or NumPy yields images other than the expected.
    """
    single = digits.build(folder, download, train_images=SINGLE_TRAIN_IMAGES)
    train = _compose(single.splits["train"], TRAIN_PAIRS_PER_CLASS)
    test = _compose(single.splits["test"], test_pairs_per_class)
    dataset = ArrayDataset(
        splits={"train": train, "test": test},
        classes=single.classes**2,
        channel_means=(float(train.images.mean()),),
        channel_stds=(float(train.images.std()),),
        origin=f"pairs of digits; {single.origin}",
    )
    dataset.require(SHA256[test_pairs_per_class], "digit_pairs")
    return dataset


def _compose(split: ArraySplit, pairs_per_class: int) -> ArraySplit:
    """Draw pairs of every class without replacement from all possible ones, and shuffle them.

    The order matters: metrics are taken over mini-batches in the order in which images are stored.

    Args:
        split: single digits, uint8, (images, 1, 8, 8), and their labels, 0 to 9.
        pairs_per_class: how many to draw.

    Returns:
        uint8, (100 * pairs_per_class, 1, 8, 16), and their classes.
    """
    images, labels = split.images, split.labels
    generator = np.random.default_rng(PAIRS_SEED)
    composed, classes = [], []
    for left_digit in range(10):
        for right_digit in range(10):
            lefts = images[labels == left_digit]
            rights = images[labels == right_digit]
            drawn = generator.choice(len(lefts) * len(rights), size=pairs_per_class, replace=False)
            left, right = np.divmod(drawn, len(rights))
            composed.append(np.concatenate([lefts[left], rights[right]], axis=-1))
            classes.append(np.full(pairs_per_class, 10 * left_digit + right_digit, np.uint8))
    order = generator.permutation(100 * pairs_per_class)
    return ArraySplit(np.concatenate(composed)[order], np.concatenate(classes)[order])
