"""COCO: images in folders of the user's, with the annotations of their objects in JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from perigee.data.annotated_files import AnnotatedDataset, AnnotatedSplit, Objects
from perigee.data.image_folder import FileSplit, read_image
from perigee.errors import PerigeeError

CHECKED_IMAGES = 32
"""The number of images per split, chosen at random, that building decodes (our choice)."""

TOLERANCE = 1.0
"""How far a box or an outline may reach beyond its image, in pixels, as rounding has it; boxes are
cut at the edges."""

ANNOTATIONS = "annotations"


def build(
    sources: Path,
    download: bool,
    *,
    folder: str,
    train_images: int,
    test_images: int,
    train_split: str,
    test_split: str,
    categories: int,
    resize: int,
    longest_side: int,
    channel_means: list[float],
    channel_stds: list[float],
) -> AnnotatedDataset:
    """List the images and objects of two splits, and decode a few of the images.

    Args:
        sources: the folder that contains ``folder``.
        download: not used; the images have to be there.
        folder, train_images, test_images, train_split, test_split, categories, resize,
            longest_side, channel_means, channel_stds: see `perigee.blocks.datasets.Coco`.

    Raises:
        PerigeeError: a folder or file is missing or not in COCO's format, annotations do not fit
            their images, or numbers of images or categories are others.
    """
    root = (sources / folder).absolute()
    try:
        dataset = read_tree(
            root,
            {"train": train_split, "test": test_split},
            resize=resize,
            longest_side=longest_side,
            channel_means=channel_means,
            channel_stds=channel_stds,
        )
        expected = {"train_images": train_images, "test_images": test_images}
        found = {f"{name}_images": len(split) for name, split in dataset.splits.items()}
        _require_numbers(
            root, {**expected, "categories": categories}, {**found, "categories": dataset.classes}
        )
    except PerigeeError as error:
        raise PerigeeError(f"Data set 'coco', folder '{folder}': {error}") from error
    return dataset


def read_tree(
    root: Path,
    splits: Mapping[str, str],
    *,
    resize: int,
    longest_side: int,
    channel_means: Sequence[float],
    channel_stds: Sequence[float],
    generated: TemporaryDirectory[str] | None = None,
) -> AnnotatedDataset:
    """Read a folder with COCO's tree.

    Training images without objects are left out, as in the usual recipe: they teach nothing to the
    heads. Objects that are crowds, or whose boxes are empty, are left out too.

    Args:
        root: the folder.
        splits: the names of the folders of images, by split; "train" and "test".
        resize, longest_side, generated: see `AnnotatedDataset`.
        channel_means, channel_stds: per channel, in [0, 1].

    Raises:
        PerigeeError: see `build`.
    """
    read = {
        name: read_split(
            root / folder,
            root / ANNOTATIONS / f"instances_{folder}.json",
            keeps_empty=name != "train",
        )
        for name, folder in splits.items()
    }
    names = [split.files.classes for split in read.values()]
    if names[0] != names[1]:
        raise PerigeeError(
            f"the annotation files in {root / ANNOTATIONS} have different categories "
            f"({len(names[0])} and {len(names[1])}); use files of one edition of the data set."
        )
    for name, folder in splits.items():
        _check_sample(read[name], root / folder)
    return AnnotatedDataset(
        splits=read,
        folders={name: root / folder for name, folder in splits.items()},
        resize=resize,
        longest_side=longest_side,
        channel_means=tuple(255 * mean for mean in channel_means),
        channel_stds=tuple(255 * std for std in channel_stds),
        origin=f"image files in {root}",
        generated=generated,
    )


def read_split(images: Path, annotations: Path, *, keeps_empty: bool) -> AnnotatedSplit:
    """Read the images and objects of one split, in the order of the files' names.

    Args:
        images: the folder of the images.
        annotations: the file of the annotations.
        keeps_empty: whether images without objects are listed.

    Raises:
        PerigeeError: something is missing, not in COCO's format, or does not fit.
    """
    if not images.is_dir():
        raise PerigeeError(f"There is no folder {images}; put the images of that split there.")
    told = _json(annotations)
    try:
        listed = _of_json(told, annotations)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise PerigeeError(
            f"{annotations} is not in COCO's format ({type(error).__name__}: {error}); put a sound "
            "copy in its place."
        ) from error
    names, pictures, objects = listed
    sizes = {entry.name: entry.stat().st_size for entry in images.iterdir() if entry.is_file()}
    absent = next((picture[0] for picture in pictures if picture[0] not in sizes), None)
    if absent is not None:
        raise PerigeeError(
            f"{annotations} lists the image {absent}, which is not in {images}; put it there, or "
            "take the annotations of these images."
        )
    kept = [n for n, one in enumerate(objects) if keeps_empty or len(one.boxes)]
    if not kept:
        raise PerigeeError(f"{annotations} lists no image with objects; put a sound copy there.")
    files = [pictures[number][0] for number in kept]
    return AnnotatedSplit.of_images(
        FileSplit.of_files(names, files, [0] * len(kept), [sizes[name] for name in files]),
        [pictures[number][1:] for number in kept],
        [objects[number] for number in kept],
    )


Picture = tuple[str, int, int]
"""The name of an image's file, its height and its width in pixels."""


def _json(path: Path) -> Any:
    if not path.is_file():
        raise PerigeeError(f"There is no file {path}; put the annotations of that split there.")
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PerigeeError(
            f"{path} is not readable JSON ({error}); put a sound copy in its place."
        ) from error


def _of_json(told: Any, path: Path) -> tuple[list[str], list[Picture], list[Objects]]:
    """The names of categories, and the images by name with their objects."""
    categories = sorted((int(one["id"]), str(one["name"])) for one in told["categories"])
    labels = {number: label for label, (number, _) in enumerate(categories)}
    pictures = sorted(
        (str(one["file_name"]), int(one["height"]), int(one["width"]), int(one["id"]))
        for one in told["images"]
    )
    places = {picture[3]: place for place, picture in enumerate(pictures)}
    found: list[list[tuple[list[float], int, list[np.ndarray]]]] = [[] for _ in pictures]
    for one in told["annotations"]:
        place, label = places.get(one["image_id"]), labels.get(one["category_id"])
        if place is None or label is None:
            what = "image" if place is None else "category"
            raise PerigeeError(
                f"{path}: annotation {one['id']} is of the {what} {one[f'{what}_id']}, which the "
                "file does not list; put a sound copy in its place."
            )
        if one.get("iscrowd"):
            continue
        name, height, width, _ = pictures[place]
        left, top, wide, high = (float(number) for number in one["bbox"])
        polygons = [np.array(flat, dtype=np.float32) for flat in one["segmentation"]]
        box = [left, top, left + wide, top + high]
        where = f"{path}: annotation {one['id']} of {name}, which has {width} x {height} pixels"
        _require_within(box, polygons, height, width, where)
        right, bottom = min(box[2], width), min(box[3], height)
        left, top = max(left, 0.0), max(top, 0.0)
        if left < right and top < bottom:
            outlines = [polygon.reshape(-1, 2) for polygon in polygons]
            found[place].append(([left, top, right, bottom], label, outlines))
    objects = [
        Objects(
            np.array([box for box, _, _ in image], dtype=np.float32).reshape(-1, 4),
            np.array([label for _, label, _ in image], dtype=np.int64),
            [outlines for _, _, outlines in image],
        )
        for image in found
    ]
    names = [name for _, name in categories]
    return names, [picture[:3] for picture in pictures], objects


def _require_within(
    box: Sequence[float], polygons: Sequence[np.ndarray], height: int, width: int, where: str
) -> None:
    """Refuse a box or an outline that reaches beyond its image, or is none.

    Raises:
        PerigeeError: it does.
    """
    remedy = "put a sound copy in its place."
    if not polygons or any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise PerigeeError(f"{where}, has no outline of at least three points; {remedy}")
    left, top, right, bottom = box
    limits = (-TOLERANCE, width + TOLERANCE, height + TOLERANCE)
    is_right = all(math.isfinite(edge) for edge in box) and left <= right and top <= bottom
    if not (
        is_right and min(left, top) >= limits[0] and right <= limits[1] and bottom <= limits[2]
    ):
        raise PerigeeError(
            f"{where}, has a box that is not within the image ({left:g} to {right:g} across, "
            f"{top:g} to {bottom:g} down); {remedy}"
        )
    for polygon in polygons:
        across, down = polygon[::2], polygon[1::2]
        # Written so that a number that is none fails, too.
        if not (
            polygon.min() >= limits[0] and across.max() <= limits[1] and down.max() <= limits[2]
        ):
            raise PerigeeError(f"{where}, has a mask that is not within the image; {remedy}")


def _check_sample(split: AnnotatedSplit, folder: Path) -> None:
    """Decode some images, chosen at random without replacement.

    Raises:
        PerigeeError: one cannot be read, or has another size than its annotations say.
    """
    draws = np.random.default_rng(0)
    for number in draws.choice(len(split), size=min(CHECKED_IMAGES, len(split)), replace=False):
        path = folder / split.files.path(number)
        read_sized_image(path, int(split.files.sizes[number]), split.image_sizes[number])


def read_sized_image(path: Path, size: int, image_size: np.ndarray) -> Any:
    """Decode an image that has annotations.

    Args:
        path: the file.
        size: its size in bytes.
        image_size: height and width in pixels, (2,).

    Raises:
        PerigeeError: it cannot be read, or has another size.
    """
    image = read_image(path, size)
    height, width = (int(side) for side in image_size)
    if image.size != (width, height):
        raise PerigeeError(
            f"{path} has {image.size[0]} x {image.size[1]} pixels, but its annotations are of "
            f"{width} x {height}; put a sound copy in its place."
        )
    return image


def _require_numbers(root: Path, expected: Mapping[str, int], found: Mapping[str, int]) -> None:
    for key, number in expected.items():
        if found[key] != number:
            raise PerigeeError(
                f"key '{key}' is {number}, but {root} has {found[key]}; set it to {found[key]}, or "
                "complete the folder."
            )
