"""Data sets whose images stay files: built from a folder, saved as listings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perigee.data.image_folder import FileSplit, check_sample, contents_digest, list_split
from perigee.data.manifest import FileDetails, Manifest
from perigee.errors import PerigeeError

ORDER_SEED = 0
CHECKED_IMAGES = 32
"""The number of images per split, chosen at random, that building decodes (our choice)."""


@dataclass(frozen=True)
class FileDataset:
    """A data set as listings of images that stay where they are.

    Attributes:
        splits: the splits by name; "train" and "test" are among them.
        folders: the splits' folders, by name.
        resolution: height and width of the images that a network sees, in pixels.
        resize: see `perigee.data.transforms.CentreCrop`.
        channel_means, channel_stds: per channel, in grey levels from 0 to 255; images are
            normalised by them.
        origin: where the images come from, in words.
        contents: digests of the splits' contents, by name; None if they were not requested.
    """

    splits: Mapping[str, FileSplit]
    folders: Mapping[str, Path]
    resolution: int
    resize: int
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    origin: str
    contents: Mapping[str, str] | None = None

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.splits["train"].classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of an image as a network sees it: (channels, height, width)."""
        return 3, self.resolution, self.resolution

    def with_contents(self) -> FileDataset:
        """Return the data set with digests of its contents; reading every file takes long.

        Raises:
            PerigeeError: a file cannot be read.
        """
        found = {
            name: contents_digest(split, self.folders[name]) for name, split in self.splits.items()
        }
        return replace(self, contents=found)


def build(
    sources: Path,
    download: bool,
    *,
    folder: str,
    train_images: int,
    resolution: int,
    resize: int | None,
    train_split: str,
    test_split: str,
    channel_means: list[float],
    channel_stds: list[float],
) -> FileDataset:
    """List the images of two splits, and decode a few of them.

    They are numbered in a mixed order, the same in every run of every seed (our choice): measures
    take their mini-batches in stored order, and BatchNorm's statistics of mini-batches of one class
    would be unlike those of training.

    Args:
        sources: the folder that contains ``folder``.
        download: not used; the images have to be there.
        folder, train_images, resolution, resize, train_split, test_split, channel_means,
            channel_stds: see `perigee.blocks.datasets.ImageFolder`.

    Raises:
        PerigeeError: a split's folder is not laid out as it must be, the splits have different
            classes, or the number of training images is another.
    """
    root = (sources / folder).absolute()
    folders = {"train": root / train_split, "test": root / test_split}
    try:
        listed = {name: list_split(path) for name, path in folders.items()}
        for name, split in listed.items():
            check_sample(split, folders[name], CHECKED_IMAGES, seed=0)
    except PerigeeError as error:
        raise PerigeeError(f"Data set 'image_folder', folder '{folder}': {error}") from error
    _require_one_set_of_classes(listed, folders)
    found = len(listed["train"])
    if found != train_images:
        raise PerigeeError(
            f"Data set 'image_folder': key 'train_images' is {train_images}, but "
            f"{folders['train']} has {found} images; set it to {found}, or complete the folder."
        )
    return FileDataset(
        splits={name: _mixed(split) for name, split in listed.items()},
        folders=folders,
        resolution=resolution,
        resize=round(resolution * 8 / 7) if resize is None else resize,
        channel_means=tuple(255 * mean for mean in channel_means),
        channel_stds=tuple(255 * std for std in channel_stds),
        origin=f"image files in {root}",
    )


def save_files(dataset: FileDataset, folder: Path) -> None:
    """Write the manifest, and the listing of each split as <split>.safetensors."""
    for name, split in dataset.splits.items():
        split.save(folder / f"{name}.safetensors")
    Manifest(
        kind="files",
        splits={name: len(split) for name, split in dataset.splits.items()},
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        channel_means=dataset.channel_means,
        channel_stds=dataset.channel_stds,
        origin=dataset.origin,
        files=FileDetails(
            folders={name: str(path) for name, path in dataset.folders.items()},
            bytes={name: int(split.sizes.sum()) for name, split in dataset.splits.items()},
            resize=dataset.resize,
            contents_sha256=dataset.contents,
        ),
    ).save(folder)


def load_files(folder: Path) -> FileDataset:
    """Read what `save_files` wrote; the images themselves are not looked at.

    Raises:
        PerigeeError: a file is truncated or not of this format, or a split's folder is gone.
    """
    manifest = Manifest.load(folder)
    details = manifest.files
    assert details is not None
    folders = {name: Path(path) for name, path in details.folders.items()}
    missing = next((path for path in folders.values() if not path.is_dir()), None)
    if missing is not None:
        raise PerigeeError(
            f"There is no folder {missing}, whose images {folder} lists; put it back, or delete "
            f"{folder} and run again to have them listed where they are now."
        )
    return FileDataset(
        splits={name: FileSplit.load(folder / f"{name}.safetensors") for name in manifest.splits},
        folders=folders,
        resolution=manifest.image_shape[1],
        resize=details.resize,
        channel_means=manifest.channel_means,
        channel_stds=manifest.channel_stds,
        origin=manifest.origin,
        contents=details.contents_sha256,
    )


def _mixed(split: FileSplit) -> FileSplit:
    return split.taken(np.random.default_rng(ORDER_SEED).permutation(len(split)))


def _require_one_set_of_classes(
    splits: Mapping[str, FileSplit], folders: Mapping[str, Path]
) -> None:
    """Refuse splits that do not have the same classes."""
    train, test = splits["train"].classes, splits["test"].classes
    if train == test:
        return
    first = min(set(train) ^ set(test))
    here, there = ("train", "test") if first in train else ("test", "train")
    raise PerigeeError(
        f"Data set 'image_folder': class '{first}' is in {folders[here]} but not in "
        f"{folders[there]}; give both splits the same classes."
    )
