"""Array data sets on the disk: one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.errors import PerigeeError

DATA, MANIFEST = "data.safetensors", "manifest.json"


def save_dataset(dataset: ArrayDataset, folder: Path) -> None:
    """Write images and labels of all splits, and the rest as the file's metadata."""
    described = {
        "splits": list(dataset.splits),
        "classes": dataset.classes,
        "channel_means": dataset.channel_means,
        "channel_stds": dataset.channel_stds,
        "origin": dataset.origin,
    }
    arrays = {
        f"{name}.{kind}": np.ascontiguousarray(getattr(split, kind))
        for name, split in dataset.splits.items()
        for kind in ("images", "labels")
    }
    save_file(arrays, folder / DATA, metadata={"dataset": json.dumps(described)})
    manifest = {
        "kind": "arrays",
        "splits": {name: len(split) for name, split in dataset.splits.items()},
        "classes": dataset.classes,
        "image_shape": list(dataset.image_shape),
        "origin": dataset.origin,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def load_dataset(folder: Path) -> ArrayDataset:
    """Read the file that `save_dataset` wrote.

    Raises:
        PerigeeError: the file is truncated or is not such a file.
    """
    path = folder / DATA
    try:
        with safe_open(path, framework="numpy") as file:
            described = json.loads(file.metadata()["dataset"])
            splits = {
                name: ArraySplit(
                    file.get_tensor(f"{name}.images"), file.get_tensor(f"{name}.labels")
                )
                for name in described.pop("splits")
            }
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise PerigeeError(
            f"{path} is not a readable data set ({error}); delete its folder and run again "
            "to have it built anew."
        ) from error
    return ArrayDataset(
        splits=splits,
        classes=described["classes"],
        channel_means=tuple(described["channel_means"]),
        channel_stds=tuple(described["channel_stds"]),
        origin=described["origin"],
    )
