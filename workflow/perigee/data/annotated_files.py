"""Data sets whose images stay files and have annotated objects, saved as listings."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from perigee.data.image_folder import FileSplit
from perigee.data.manifest import FileDetails, Manifest
from perigee.errors import PerigeeError

ARRAYS = (
    "image_sizes",
    "object_ends",
    "boxes",
    "categories",
    "polygon_ends",
    "point_ends",
    "points",
)


class Objects(NamedTuple):
    """The annotated objects of one image, in its own pixels.

    Attributes:
        boxes: float32, (objects, 4): left, top, right and bottom edges.
        categories: int64, (objects,), counted from 0.
        polygons: the outlines of each object's mask, which is their union; each float32,
            (points, 2): x and y.
    """

    boxes: np.ndarray
    categories: np.ndarray
    polygons: list[list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class AnnotatedSplit:
    """The images of one split with their objects, in the order that numbers them.

    Attributes:
        files: the listing of the images; its classes are the categories, its labels mean nothing.
        image_sizes: int64, (images, 2): height and width in pixels.
        object_ends: int64, (images,): where the objects of each image end among all.
        boxes, categories: of all objects one after the other, see `Objects`.
        polygon_ends: int64, (objects,): where the polygons of each object end among all.
        point_ends: int64, (polygons,): where the points of each polygon end among all.
        points: float32, (points, 2), of all polygons one after the other.
    """

    files: FileSplit
    image_sizes: np.ndarray
    object_ends: np.ndarray
    boxes: np.ndarray
    categories: np.ndarray
    polygon_ends: np.ndarray
    point_ends: np.ndarray
    points: np.ndarray

    @classmethod
    def of_images(
        cls, files: FileSplit, image_sizes: Sequence[tuple[int, int]], objects: Sequence[Objects]
    ) -> AnnotatedSplit:
        """Make a split of the objects of each image; see the attributes."""
        polygons = [p for image in objects for one in image.polygons for p in one]
        counts = [len(one) for image in objects for one in image.polygons]
        return cls(
            files=files,
            image_sizes=np.array(image_sizes, dtype=np.int64).reshape(-1, 2),
            object_ends=np.cumsum([len(image.boxes) for image in objects], dtype=np.int64),
            boxes=_joined([image.boxes for image in objects], (0, 4), np.float32),
            categories=_joined([image.categories for image in objects], (0,), np.int64),
            polygon_ends=np.cumsum(counts, dtype=np.int64),
            point_ends=np.cumsum([len(polygon) for polygon in polygons], dtype=np.int64),
            points=_joined(polygons, (0, 2), np.float32),
        )

    def __len__(self) -> int:
        return len(self.files)

    def objects(self, number: int) -> Objects:
        """The objects of an image.

        Args:
            number: the image's number, from 0 to ``len(self) - 1``.
        """
        own = _part(self.object_ends, number)
        polygons = [
            [self.points[_part(self.point_ends, one)] for one in _range(self.polygon_ends, place)]
            for place in range(own.start, own.stop)
        ]
        return Objects(self.boxes[own], self.categories[own], polygons)

    def save(self, path: Path) -> None:
        """Write the listing to a safetensors file, and the objects to another one beside it."""
        self.files.save(path)
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        save_file(arrays, _beside(path))

    @classmethod
    def load(cls, path: Path) -> AnnotatedSplit:
        """Read what `save` wrote.

        Raises:
            PerigeeError: a file is truncated or not of this format.
        """
        files = FileSplit.load(path)
        try:
            with safe_open(_beside(path), framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in ARRAYS}
        except (SafetensorError, OSError) as error:
            raise PerigeeError(
                f"{_beside(path)} is not a readable listing of objects ({error}); delete its "
                "folder and run again to have it made anew."
            ) from error
        return cls(files, **arrays)


@dataclass(frozen=True)
class AnnotatedDataset:
    """A data set as listings of images and of their objects.

    Attributes:
        splits: the splits by name, "train" and "test".
        folders: the splits' folders of images, by name.
        resize, longest_side: see `perigee.blocks.datasets.AnnotatedImages`.
        channel_means, channel_stds: per channel, in grey levels from 0 to 255; images are
            normalised by them.
        origin: where the images come from, in words.
        generated: the folder that holds the images of a generated set until its product has them;
            it goes with this object. None if they are the user's.
    """

    splits: Mapping[str, AnnotatedSplit]
    folders: Mapping[str, Path]
    resize: int
    longest_side: int
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    origin: str
    generated: TemporaryDirectory[str] | None = None

    @property
    def classes(self) -> int:
        """The number of categories."""
        return len(self.splits["train"].files.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The largest shape of an image that is wider than high: (channels, height, width)."""
        return 3, self.resize, self.longest_side


def save_annotated(dataset: AnnotatedDataset, folder: Path) -> None:
    """Write the manifest, the listings of each split, and the images if they were generated."""
    for name, split in dataset.splits.items():
        split.save(folder / f"{name}.safetensors")
        if dataset.generated is not None:
            for number in range(len(split)):
                shutil.copy(dataset.folders[name] / split.files.path(number), folder)
    is_own = dataset.generated is not None
    Manifest(
        kind="annotated_files",
        splits={name: len(split) for name, split in dataset.splits.items()},
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        channel_means=dataset.channel_means,
        channel_stds=dataset.channel_stds,
        origin=dataset.origin,
        files=FileDetails(
            folders={n: "." if is_own else str(path) for n, path in dataset.folders.items()},
            bytes={name: int(split.files.sizes.sum()) for name, split in dataset.splits.items()},
            resize=dataset.resize,
        ),
    ).save(folder)


def load_annotated(folder: Path) -> AnnotatedDataset:
    """Read what `save_annotated` wrote; the images themselves are not looked at.

    Raises:
        PerigeeError: a file is truncated or not of this format, or a split's folder is gone.
    """
    manifest = Manifest.load(folder)
    details = manifest.files
    assert details is not None
    folders = {name: folder / path for name, path in details.folders.items()}
    missing = next((path for path in folders.values() if not path.is_dir()), None)
    if missing is not None:
        raise PerigeeError(
            f"There is no folder {missing}, whose images {folder} lists; put it back, or delete "
            f"{folder} and run again to have them listed where they are now."
        )
    return AnnotatedDataset(
        splits={n: AnnotatedSplit.load(folder / f"{n}.safetensors") for n in manifest.splits},
        folders=folders,
        resize=details.resize,
        longest_side=manifest.image_shape[2],
        channel_means=manifest.channel_means,
        channel_stds=manifest.channel_stds,
        origin=manifest.origin,
    )


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}_objects.safetensors")


def _part(ends: np.ndarray, number: int) -> slice:
    """The place of the things of one owner among all, of which ``ends`` tells the ends."""
    return slice(int(ends[number - 1]) if number else 0, int(ends[number]))


def _range(ends: np.ndarray, number: int) -> range:
    part = _part(ends, number)
    return range(part.start, part.stop)


def _joined(arrays: Sequence[np.ndarray], empty: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(empty, dtype), *arrays]).astype(dtype)
