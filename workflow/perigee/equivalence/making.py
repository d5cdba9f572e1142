"""Golden products, made by the library of one checkout in a process of its own.

``python -m perigee.equivalence.making`` reads golden products from standard input and answers for
each with the digest of the code that makes it; given a folder, it makes them. Old code runs its own
copy of this program, so that the two need nothing in common but this protocol.
"""

from __future__ import annotations

import atexit
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import ValidationError

from perigee import checkpoints, registry
from perigee.data import arrays, building, saving
from perigee.equivalence.golden import EPOCHS
from perigee.errors import PerigeeError
from perigee.identity.products import Identity, dataset_identity, measure_identity, run_identity
from perigee.kernel import execution, trainer
from perigee.spec import Parent, RunSpec
from perigee.training import loop, recording

SHAPES = {"digits": (1, 8, 8), "cifar10": (3, 32, 32), "image_folder": (3, 24, 20)}
"""The shape of the random images that stand in for the data sets of golden runs."""

COUNTS = {"train": 90, "test": 30}
"""How many there are of each split."""

CLASSES = 10

FOLDERS = {"train": "train", "test": "val"}
"""The folders of the splits of images that stay files."""


def answer(
    golden: Mapping[str, Any], folder: Path | None, downloads: Path, device: str
) -> tuple[str, str | None] | None:
    """Return which code makes a golden product, and make the product.

    Args:
        golden: see `perigee.equivalence.golden.golden_products`.
        folder: the folder for the files; None makes none.
        downloads: folder of downloaded data sets.
        device: where runs are trained.

    Returns:
        The digest of the code that counts, and, if the product cannot be made here, the reason.
        None if this library lacks a block or a parameter.
    """
    try:
        spec = RunSpec.from_dict(golden["run"])
        measure: Any = registry.make("measure", golden["measure"])
    except (KeyError, ValidationError):
        return None
    identity, failure = run_identity(spec, ""), None
    if golden["kind"] == "dataset":
        identity = dataset_identity(spec.dataset)
    elif golden["kind"] == "measure":
        identity = measure_identity(measure, Identity("run", "", {}, "", {}))
    try:
        if folder is not None:
            folder.mkdir(parents=True)
            if golden["kind"] == "dataset":
                saving.save_dataset(building.build_dataset(spec.dataset, downloads, False), folder)
            else:
                train_run(spec, measure, device, folder)
    except PerigeeError as error:
        failure = str(error)
    return identity.code, failure


def train_run(spec: RunSpec, measure: Any, device: str, folder: Path) -> None:
    """Train a run on random images; write its fingerprint and one measure."""
    data = data_of(spec, folder)
    place = execution.prepare(device, spec.precision, data.image_shape)
    start = start_of_fork(spec.parent, data, place, folder) if spec.parent else None
    record(trainer.Trainer(spec, data, place, start), measure, folder)


def data_of(spec: RunSpec, folder: Path) -> saving.AnyDataset:
    """Make the data set of a golden run, of random images where it is not one that is drawn.

    Args:
        spec: the run.
        folder: the folder that arrays are saved in, so that what is read back counts, too. Files
            of images lie elsewhere, since their paths would tell old and new code apart.
    """
    if spec.dataset.stored_as == "annotated_files":
        return building.build_dataset(spec.dataset, folder, False)
    shape = SHAPES[spec.dataset.name]
    draw: Any = partial(np.random.default_rng(0).integers, dtype=np.uint8)
    splits = {
        name: arrays.ArraySplit(draw(256, size=(n, *shape)), draw(CLASSES, size=n))
        for name, n in COUNTS.items()
    }
    if spec.dataset.stored_as == "files":
        sources = TemporaryDirectory(prefix="perigee-golden-")
        atexit.register(sources.cleanup)
        write_images(splits, Path(sources.name, spec.dataset.parameters["folder"]))
        return building.build_dataset(spec.dataset, Path(sources.name), False)
    made = arrays.ArrayDataset(splits, CLASSES, (127.5,) * shape[0], (73.9,) * shape[0], "random")
    saving.save_dataset(made, folder)
    return saving.load_dataset(folder)


def write_images(splits: Mapping[str, arrays.ArraySplit], folder: Path) -> None:
    """Write images as the data set ``image_folder`` has them, a folder for each split and class.

    Classes take turns, whatever the labels: one without images is refused.
    """
    for name, split in splits.items():
        for number, levels in enumerate(split.images):
            own = Path(folder, FOLDERS[name], str(number % CLASSES))
            own.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels.transpose(1, 2, 0)).save(own / f"{number:03}.png")


def start_of_fork(
    parent: Parent, data: saving.AnyDataset, place: execution.Execution, folder: Path
) -> trainer.Start:
    """Train a parent, find the start of a fork, and write the epoch that the rule finds.

    The rule is applied to a synthetic course of 300 epochs that destabilises every 100.
    """
    falling, rising = np.linspace(2, 1, 90), np.linspace(1, 2, 10)
    loss, norm = 3 * [*[1e-3] * 90, *[1.0] * 10], 3 * [*falling, *rising]
    course = pd.DataFrame({"epoch": range(300), "train_loss": loss, "weight_norm": norm})
    found = registry.load(parent.at)(course, **parent.at.parameters)
    measure = registry.make("measure", {"name": "checkpoints"})
    run = trainer.Trainer(parent.run, data, place)
    parts = record(run, measure, folder / "parent")["parts"]
    np.save(folder / "fork_epoch.npy", found)
    rows, epochs = folder / "parent/checkpoints.npy", tuple(range(EPOCHS + 1))
    kept = checkpoints.KeptCheckpoints(rows, epochs, epochs, tuple(parts))
    first = min(found, EPOCHS - 1)
    return trainer.Start(kept.checkpoint(first), first, parent.run)


def record(run: trainer.Trainer, measure: Any, folder: Path) -> Mapping[str, Any]:
    """Train, write fingerprint and measure, and return the measure's description of its rows."""
    live = registry.load(measure)(run, **measure.parameters)
    recorder = recording.Recorder(run, folder, {measure.name: live}, EPOCHS)
    loop.train(run, recorder)
    recorder.close()
    return dict(live.description)


if __name__ == "__main__":
    products, out, downloads, device = json.load(sys.stdin)
    answers = [
        answer(golden, Path(out, str(number)) if out else None, Path(downloads), device)
        for number, golden in enumerate(products)
    ]
    json.dump(answers, sys.stdout)
