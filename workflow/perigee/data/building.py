"""Building a data set: the images of its source, with noise in the labels if wanted."""

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
    """The arrays or the listed files of a data set.

    Args:
        dataset: which, with its parameters.
        sources: folder of downloaded files and of folders of images.
        download: whether files that it lacks are fetched.

    Raises:
        PerigeeError: the source cannot be had, or is another one than expected.
    """
    own = {name: v for name, v in dataset.parameters.items() if name not in Dataset.model_fields}
    built: AnyDataset = registry.load(dataset)(sources, download, **own)
    return with_noisy_labels(built, dataset.label_noise, dataset.noise_seed)


def with_noisy_labels(dataset: AnyDataset, share: float, seed: int) -> AnyDataset:
    """The data set with a share of its training labels replaced by random ones.

    The replaced labels are drawn uniformly from all classes, so that some stay right by chance
    (Kodryan et al. 2022, Appendix G). Test labels stay.

    Args:
        dataset: left as it is.
        share: of the training images, in [0, 1]; rounded to whole images.
        seed: of the choice of images and of their labels.
    """
    if not share:
        return dataset
    train = dataset.splits["train"]
    draws = np.random.default_rng(seed)
    chosen = draws.permutation(len(train))[: round(share * len(train))]
    labels = train.labels.copy()
    labels[chosen] = draws.integers(0, dataset.classes, size=len(chosen))
    splits: Any = {**dataset.splits, "train": replace(train, labels=labels)}
    return replace(dataset, splits=splits)
