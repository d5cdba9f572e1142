"""Small trees of image files and runs on them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perigee.blocks.datasets import ImageFolder
from perigee.data.building import build_dataset
from perigee.data.file_datasets import FileDataset
from perigee.spec import RunSpec

COUNTS = {"train": {"ant": 25, "bee": 20, "cat": 16}, "val": {"ant": 7, "bee": 6, "cat": 6}}
TRAIN_IMAGES = 61

BATCH, STEPS, EPOCHS = 16, 4, 2
"""The size of the runs; the last mini-batch of an epoch has 13 images."""


def grow(root: Path, side: int | None = None) -> Path:
    """Images of three classes, each with a colour and noise of its own.

    Args:
        root: the folder to create, with a folder per split.
        side: height and width; None draws each image's, around 40 x 30.
    """
    draws = np.random.default_rng(0)
    for split, counts in COUNTS.items():
        for label, (name, count) in enumerate(counts.items()):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = draws.integers((34, 24), (46, 36)) if side is None else (side, side)
                levels = draws.integers(0, 120, (height, width, 3), dtype=np.uint8)
                levels[..., label] += 60
                Image.fromarray(levels).save(folder / f"{number:02}.png")
    return root


def listed(root: Path, resolution: int = 16, **parameters: Any) -> FileDataset:
    """The data set of a tree."""
    block = ImageFolder(
        folder=root.name,
        **{"train_images": TRAIN_IMAGES, "resolution": resolution, **parameters},
    )
    built = build_dataset(block, root.parent, download=False)
    assert isinstance(built, FileDataset)
    return built


def make_spec(**changed: Any) -> RunSpec:
    """A run of the smallest ConvNet on such a tree, with some of its values changed."""
    values = {
        "dataset": {
            "name": "image_folder",
            "folder": "insects",
            "train_images": TRAIN_IMAGES,
            "resolution": 16,
        },
        "task": {"name": "streamed_classification"},
        "augmentation": {"name": "resized_crop_and_flip"},
        "model": {"name": "convnet", "width": 2, "scale_invariant": True},
        "optimiser": {"name": "sgd", "learning_rate": 0.3, "weight_decay": 0.01, "momentum": 0.9},
        "batch_size": BATCH,
        "seed": 3,
    }
    return RunSpec.from_dict({**values, **changed})
