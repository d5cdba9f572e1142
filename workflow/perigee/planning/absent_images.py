"""Figures that cannot be made, since a folder of images that they need is not there."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perigee.blocks.datasets import Coco, Dataset, ImageFolder
from perigee.configuration.settings import SETTINGS
from perigee.planning.products import FigureProduct


@dataclass(frozen=True)
class AbsentFolder:
    """A folder of images that does not exist.

    Attributes:
        path: the folder.
        contents: what has to be in it, in words.
    """

    path: Path
    contents: str


def absent_images(
    figures: Mapping[str, FigureProduct], data: Path
) -> dict[str, tuple[AbsentFolder, ...]]:
    """The folders that figures lack, by key; a figure that lacks none is not among them.

    Args:
        figures: by key.
        data: the folder that key 'data' of the configuration names.
    """
    lacking = {}
    for key, figure in figures.items():
        folders = [needed_folder(run.spec.dataset, data) for run in figure.runs]
        missing = dict.fromkeys(one for one in folders if one and not one.path.is_dir())
        if missing:
            lacking[key] = tuple(sorted(missing, key=lambda one: one.path))
    return lacking


def needed_folder(dataset: Dataset, data: Path) -> AbsentFolder | None:
    """The folder of the user's that a data set needs; None if it needs none.

    Args:
        dataset: the data set's block.
        data: see `absent_images`.
    """
    if isinstance(dataset, ImageFolder):
        return AbsentFolder(data / dataset.folder, "a folder per split and in it one per class")
    if isinstance(dataset, Coco):
        return AbsentFolder(
            data / dataset.folder,
            f"the folders {dataset.train_split}, {dataset.test_split} and annotations",
        )
    return None


def tell_left_out(
    name: str, keys: Iterable[str], absent: Mapping[str, tuple[AbsentFolder, ...]]
) -> None:
    """Print a sentence on each folder for whose want a target leaves out a figure.

    Args:
        name: the target.
        keys: the figures that it stands for.
        absent: see `absent_images`.

    Raises:
        SystemExit: the target is the key of one that lacks its images.
    """
    for key in keys:
        sentences = [
            f"{key} needs images in {folder.path}, which does not exist; make that folder, with "
            f"{folder.contents}, or a link to it (key 'data' of {SETTINGS})."
            for folder in absent.get(key, ())
        ]
        if sentences and key == name:
            sys.exit("\n".join(f"Error: {sentence}" for sentence in sentences))
        for sentence in sentences:
            print(f"Left out: {sentence}", file=sys.stderr)
