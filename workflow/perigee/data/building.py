"""Building a data set: the images of its source, with optional noise in the labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perigee import registry
from perigee.blocks.datasets import Dataset

if TYPE_CHECKING:  # the identity of arrays does not hang on how files are listed
    from perigee.data.saving import AnyDataset


def build_dataset(dataset: Dataset, sources: Path, download: bool) -> AnyDataset:
    """Build a data set: its arrays, or the listings of its files.

    Args:
        dataset: the data set's block, with its parameters.
        sources: folder of downloaded files and of folders of images.
        download: whether to download missing files.

    Raises:
        PerigeeError: the source cannot be obtained, or is not the expected one.
    """
    own = {name: v for name, v in dataset.parameters.items() if name not in Dataset.model_fields}
    built: AnyDataset = registry.load(dataset)(sources, download, **own)
    return with_noisy_labels(built, dataset.label_noise, dataset.noise_seed)


def with_noisy_labels(dataset: AnyDataset, share: float, seed: int) -> AnyDataset:
    """Return the data set with a share of its training labels replaced by random ones.

    The replaced labels are drawn uniformly from all classes, so that some stay right by chance
    (Kodryan et al. 2022, Appendix G). Test labels stay.

    Args:
        dataset: the data set, left unchanged.
        share: share of the training images, in [0, 1]; rounded to whole images.
        seed: seed of the choice of images and of their labels.
    """
    if not share:
        return dataset
    train: Any = dataset.splits["train"]  # one of images with labels; others allow no noise
    draws = np.random.default_rng(seed)
    chosen = draws.permutation(len(train))[: round(share * len(train))]
    labels = train.labels.copy()
    labels[chosen] = draws.integers(0, dataset.classes, size=len(chosen))
    splits: Any = {**dataset.splits, "train": replace(train, labels=labels)}
    return replace(dataset, splits=splits)
