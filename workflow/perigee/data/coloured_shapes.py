"""Generated images of coloured shapes, annotated in COCO's format, for small scales."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from perigee.data.annotated_files import AnnotatedDataset
from perigee.data.coco import ANNOTATIONS, read_tree

CATEGORIES = {"triangle": 3, "square": 4, "hexagon": 6}
"""The number of corners of each category's shapes."""

MOST = 3
"""The most shapes in an image."""

SMALLEST, LARGEST = 0.12, 0.25
"""The distance of the corners from the centre, as shares of the image's side."""

LEVELS = 60
"""The grey levels of the background's noise; those of shapes are higher in some channel."""

SPLITS = {"train": "train2017", "test": "val2017"}


def build(
    sources: Path,
    download: bool,
    *,
    train_images: int,
    test_images: int,
    side: int,
    drawing_seed: int,
    resize: int,
    longest_side: int,
    channel_means: list[float],
    channel_stds: list[float],
) -> AnnotatedDataset:
    """Draw the images of two splits, and read them as COCO's are read.

    Each image has one to `MOST` regular polygons of random category, place, size, angle and colour
    on noise (all of it our choice: the paper uses no such images).

    Args:
        sources, download: not used.
        train_images, test_images, side, drawing_seed, resize, longest_side, channel_means,
            channel_stds: see `perigee.blocks.datasets.ColouredShapes`.
    """
    temporary = TemporaryDirectory(prefix="perigee-shapes-")
    root = Path(temporary.name)
    counts = {"train": train_images, "test": test_images}
    for place, (name, folder) in enumerate(SPLITS.items()):
        draws = np.random.default_rng((drawing_seed, place))
        _draw_split(root, folder, counts[name], side, draws)
    dataset = read_tree(
        root,
        SPLITS,
        resize=resize,
        longest_side=longest_side,
        channel_means=channel_means,
        channel_stds=channel_stds,
        generated=temporary,
    )
    return replace(dataset, origin=f"coloured shapes drawn from seed {drawing_seed}")


def _draw_split(root: Path, folder: str, count: int, side: int, draws: np.random.Generator) -> None:
    """Write the images of a split, and their annotations."""
    (root / folder).mkdir()
    (root / ANNOTATIONS).mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        name = f"{folder}_{number:06}.png"
        images.append({"id": number, "file_name": name, "height": side, "width": side})
        noise = draws.integers(0, LEVELS, (side, side, 3), dtype=np.uint8)
        picture = Image.fromarray(noise)
        for _ in range(draws.integers(1, MOST, endpoint=True)):
            category = int(draws.integers(len(CATEGORIES)))
            corners = _corners(list(CATEGORIES.values())[category], side, draws)
            colour = draws.integers(LEVELS, 256, 3)
            colour[draws.integers(3)] = 255
            ImageDraw.Draw(picture).polygon(
                [(x, y) for x, y in corners.tolist()], fill=tuple(colour.tolist())
            )
            (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": category + 1,
                    "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": [corners.flatten().tolist()],
                }
            )
        picture.save(root / folder / name)
    told = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(CATEGORIES, start=1)],
    }
    (root / ANNOTATIONS / f"instances_{folder}.json").write_text(json.dumps(told), encoding="utf-8")


def _corners(count: int, side: int, draws: np.random.Generator) -> np.ndarray:
    """The corners of a regular polygon within the image, x and y, (count, 2)."""
    radius = side * draws.uniform(SMALLEST, LARGEST)
    centre = draws.uniform(radius, side - radius, 2)
    angles = draws.uniform(0, math.tau) + math.tau * np.arange(count) / count
    corners: np.ndarray = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return corners.round(2)
