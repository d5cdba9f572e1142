"""Figures that cannot be made, since a folder of images that they need is not there."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from perigee.blocks.datasets import ImageFolder
from perigee.configuration.settings import SETTINGS
from perigee.planning.products import FigureProduct


def absent_images(figures: Mapping[str, FigureProduct], data: Path) -> dict[str, Path]:
    """The folders that figures lack, by key; a figure that lacks none is not among them.

    Args:
        figures: by key.
        data: the folder that key 'data' of the configuration names.
    """
    lacking = {}
    for key, figure in figures.items():
        datasets = [run.spec.dataset for run in figure.runs]
        folders = [data / one.folder for one in datasets if isinstance(one, ImageFolder)]
        missing = next((folder for folder in folders if not folder.is_dir()), None)
        if missing is not None:
            lacking[key] = missing
    return lacking


def tell_left_out(name: str, keys: Iterable[str], absent: Mapping[str, Path]) -> None:
    """Print a sentence on each figure that a target leaves out.

    Args:
        name: the target.
        keys: the figures that it stands for.
        absent: see `absent_images`.

    Raises:
        SystemExit: the target is the key of one that lacks its images.
    """
    for key in keys:
        if key not in absent:
            continue
        sentence = (
            f"{key} needs images in {absent[key]}, which does not exist; make that folder, with a "
            f"folder per split and in it one per class, or a link to it (key 'data' of {SETTINGS})."
        )
        if key == name:
            sys.exit(f"Error: {sentence}")
        print(f"Left out: {sentence}", file=sys.stderr)
