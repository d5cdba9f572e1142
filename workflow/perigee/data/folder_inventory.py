"""All that is wrong with a folder of images, told at once where building a data set of it failed.

Building ends at the first thing that it cannot use. This module looks on from there; where nothing
is wrong it does not run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perigee.blocks.datasets import ImageFolder
from perigee.data.file_datasets import CHECKED_IMAGES
from perigee.data.image_folder import SUFFIXES, read_image
from perigee.errors import PerigeeError

MOST = 20
"""The most sentences that are told (our choice); the rest are counted."""


@dataclass
class _Split:
    """The classes and images of a split, and what is wrong with its folder.

    Attributes:
        folder: the split's folder.
        classes: names of its visible sub-folders.
        images: paths relative to the folder, class by class, sorted by name.
        wrong: a sentence on each thing that is wrong.
    """

    folder: Path
    classes: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def in_full(error: PerigeeError, dataset: ImageFolder, sources: Path) -> PerigeeError:
    """The error with which building ended, or one that tells all that is wrong, if there is more.

    Args:
        error: of building the data set.
        dataset: the data set's block.
        sources: the folder that contains its folder.
    """
    wrong = inventory(dataset, sources)
    if len(wrong) < 2:
        return error
    told, more = wrong[:MOST], len(wrong) - MOST
    rest = f" {more} more are not listed." if more > 0 else ""
    return PerigeeError(
        f"Data set 'image_folder', folder '{dataset.folder}': {len(wrong)} things have to be "
        f"mended. {' '.join(told)}{rest}"
    )


def inventory(dataset: ImageFolder, sources: Path) -> list[str]:
    """A sentence on each thing that is missing or cannot be used: splits, classes, counts, images.

    Of each split the images are decoded that building decodes, if nothing else is wrong.

    Args:
        dataset: the data set's block.
        sources: the folder that contains its folder.
    """
    root = (sources / dataset.folder).absolute()
    train, test = (_look(root / name) for name in (dataset.train_split, dataset.test_split))
    found = [*train.wrong, *test.wrong]
    if train.classes and test.classes:
        found += [*_only_in(train, test), *_only_in(test, train)]
    if train.images and len(train.images) != dataset.train_images:
        found.append(
            f"{train.folder} has {len(train.images)} images, but key 'train_images' is "
            f"{dataset.train_images}: complete the folder, or change the key."
        )
    return [*found, *_unreadable(train), *_unreadable(test)]


def _look(folder: Path) -> _Split:
    """List a split's folder, whatever is wrong with it."""
    split = _Split(folder)
    if not folder.is_dir():
        split.wrong.append(f"There is no folder {folder}, for the images of a split.")
        return split
    try:
        split.classes = [entry.name for entry in _visible(folder) if entry.is_dir()]
    except OSError as error:
        split.wrong.append(f"{folder} cannot be listed ({error.strerror}).")
        return split
    if not split.classes:
        split.wrong.append(f"{folder} has no sub-folders: there has to be one per class.")
    for name in split.classes:
        try:
            entries = _visible(folder / name)
            inner = next((entry.name for entry in entries if entry.is_dir()), None)
        except OSError as error:
            split.wrong.append(f"{folder / name} cannot be listed ({error.strerror}).")
            continue
        images = [entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES)]
        if inner is not None:
            split.wrong.append(
                f"{folder / name} has a sub-folder, '{inner}'; images have to lie directly in it."
            )
        elif not images:
            split.wrong.append(f"{folder / name} has no images.")
        else:
            split.images += [f"{name}/{image}" for image in images]
    return split


def _visible(folder: Path) -> Sequence[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, sorted by name."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def _only_in(here: _Split, there: _Split) -> Iterator[str]:
    """A sentence on each class that the other split lacks."""
    for name in sorted(set(here.classes) - set(there.classes)):
        yield f"Class '{name}' is in {here.folder}, but not in {there.folder}."


def _unreadable(split: _Split) -> Iterator[str]:
    """A sentence on each image of the sample that cannot be decoded."""
    count = len(split.images)
    draws = np.random.default_rng(0)
    for number in draws.choice(count, size=min(CHECKED_IMAGES, count), replace=False):
        try:
            read_image(split.folder / split.images[number])
        except PerigeeError as error:
            yield str(error)
