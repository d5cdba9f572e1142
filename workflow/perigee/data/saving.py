"""The product of a data set of any kind: a manifest, with arrays or with listings of files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from perigee.data.annotated_files import AnnotatedDataset, load_annotated, save_annotated
from perigee.data.array_files import load_arrays, save_arrays
from perigee.data.arrays import ArrayDataset
from perigee.data.file_datasets import FileDataset, load_files, save_files
from perigee.data.manifest import Manifest

AnyDataset: TypeAlias = ArrayDataset | FileDataset | AnnotatedDataset


def save_dataset(dataset: AnyDataset, folder: Path) -> None:
    """Write a data set into a folder, which must exist."""
    if isinstance(dataset, FileDataset):
        save_files(dataset, folder)
    elif isinstance(dataset, AnnotatedDataset):
        save_annotated(dataset, folder)
    else:
        save_arrays(dataset, folder)


def load_dataset(folder: Path) -> AnyDataset:
    """Read the data set that `save_dataset` wrote.

    Raises:
        PerigeeError: a file is truncated or not of this format, or a folder of images is gone.
    """
    kind = Manifest.load(folder).kind
    if kind == "annotated_files":
        return load_annotated(folder)
    return load_files(folder) if kind == "files" else load_arrays(folder)
