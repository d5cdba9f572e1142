"""Array data sets on the disk: a manifest, and one safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.manifest import Manifest
from perigee.errors import PerigeeError

DATA = "data.safetensors"


def save_arrays(dataset: ArrayDataset, folder: Path) -> None:
    """Write the images and labels of all splits, and a manifest with everything else."""
    arrays = {
        f"{name}.{kind}": np.ascontiguousarray(getattr(split, kind))
        for name, split in dataset.splits.items()
        for kind in ("images", "labels")
    }
    save_file(arrays, folder / DATA)
    Manifest(
        kind="arrays",
        splits={name: len(split) for name, split in dataset.splits.items()},
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        channel_means=dataset.channel_means,
        channel_stds=dataset.channel_stds,
        origin=dataset.origin,
    ).save(folder)


def load_arrays(folder: Path) -> ArrayDataset:
    """Read the files that `save_arrays` wrote.

    Raises:
        PerigeeError: a file is truncated or not of this format.
    """
    manifest, path = Manifest.load(folder), folder / DATA
    try:
        with safe_open(path, framework="numpy") as file:
            splits = {
                name: ArraySplit(
                    file.get_tensor(f"{name}.images"), file.get_tensor(f"{name}.labels")
                )
                for name in manifest.splits
            }
    except (SafetensorError, OSError) as error:
        raise PerigeeError(
            f"{path} is not a readable data set ({error}); delete its folder and run again "
            "to have it built anew."
        ) from error
    return ArrayDataset(
        splits=splits,
        classes=manifest.classes,
        channel_means=manifest.channel_means,
        channel_stds=manifest.channel_stds,
        origin=manifest.origin,
    )
