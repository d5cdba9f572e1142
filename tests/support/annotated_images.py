"""Small trees of annotated images in COCO's format, and runs on generated ones, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perigee.blocks.datasets import Coco, ColouredShapes
from perigee.data.annotated_files import AnnotatedDataset
from perigee.data.building import build_dataset
from perigee.spec import RunSpec

SIZES = [(40, 30), (30, 40), (50, 50), (36, 28), (32, 32)]
"""Widths and heights of the training images; the first two are those of the test images."""

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]

TRAIN_IMAGES, BATCH, STEPS, EPOCHS = 10, 4, 3, 2
"""The size of the runs on generated images; the last mini-batch of an epoch has two images."""

SHAPES = {
    "name": "coloured_shapes",
    "train_images": TRAIN_IMAGES,
    "test_images": 3,
    "side": 32,
    "resize": 32,
    "longest_side": 32,
}
NARROW = {
    "name": "mask_rcnn",
    "blocks": [1, 1, 1, 1],
    "width": 2,
    "pyramid_width": 4,
    "head_width": 8,
    "smallest_anchor": 4,
    "proposals": 16,
}


def annotation(number: int, image: int, left: int, **changed: Any) -> dict[str, Any]:
    """A rectangle of 10 by 8 pixels, 5 pixels from the upper edge, annotated as a car."""
    right, top, bottom = left + 10, 5, 13
    corners = [left, top, right, top, right, bottom, left, bottom]
    return {
        "id": number,
        "image_id": image,
        "category_id": 3,
        "iscrowd": 0,
        "bbox": [left, top, 10, 8],
        "segmentation": [corners],
        **changed,
    }


def grow(root: Path) -> Path:
    """COCO's tree: five training images, one without objects and one a crowd, and two others."""
    for split, sizes in (("train2017", SIZES), ("val2017", SIZES[:2])):
        folder = root / split
        folder.mkdir(parents=True)
        images = []
        for number, (width, height) in enumerate(sizes):
            name = f"{number:03}.png"
            levels = np.full((height, width, 3), 10 * number, dtype=np.uint8)
            Image.fromarray(levels).save(folder / name)
            images.append({"id": 70 + number, "file_name": name, "width": width, "height": height})
        objects = [
            annotation(1, 70, 2),
            annotation(2, 70, 20, category_id=18),
            annotation(3, 71, 8),
        ]
        if split == "train2017":
            crowd = {"counts": [0, 4], "size": [50, 50]}
            objects.append(annotation(4, 72, 3, iscrowd=1, segmentation=crowd))
            objects.append(annotation(5, 74, 11))
        (root / "annotations").mkdir(exist_ok=True)
        told = {"images": images[::-1], "annotations": objects, "categories": CATEGORIES}
        annotations_of(root, split).write_text(json.dumps(told), encoding="utf-8")
    return root


def annotations_of(root: Path, split: str = "train2017") -> Path:
    """The file of a split's annotations."""
    return root / "annotations" / f"instances_{split}.json"


def edit(root: Path, change: Callable[[dict[str, Any]], Any], split: str = "train2017") -> None:
    """Change what a file of annotations says."""
    path = annotations_of(root, split)
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    path.write_text(json.dumps(told), encoding="utf-8")


def listed(root: Path, **parameters: Any) -> AnnotatedDataset:
    """The data set of such a tree."""
    given = {"train_images": 3, "test_images": 2, "categories": 2, **parameters}
    built = build_dataset(Coco(folder=root.name, **given), root.parent, download=False)
    assert isinstance(built, AnnotatedDataset)
    return built


def drawn(**parameters: Any) -> AnnotatedDataset:
    """A generated data set."""
    given = {key: value for key, value in SHAPES.items() if key != "name"}
    built = build_dataset(ColouredShapes(**{**given, **parameters}), Path("unused"), download=False)
    assert isinstance(built, AnnotatedDataset)
    return built


def make_spec(**changed: Any) -> RunSpec:
    """A run of the smallest network on generated images, with some of its values changed."""
    values = {
        "dataset": SHAPES,
        "task": {"name": "streamed_detection"},
        "augmentation": {"name": "horizontal_flip"},
        "model": NARROW,
        "optimiser": {"name": "sgd", "learning_rate": 0.02, "weight_decay": 1e-3, "momentum": 0.9},
        "batch_size": BATCH,
        "seed": 3,
    }
    return RunSpec.from_dict({**values, **changed})
