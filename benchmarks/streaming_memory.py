"""The peak memory of a training job that reads its images from files, by the size of the data set.

The job is the real command line of rule train_run, on the CPU: an epoch of a small ConvNet on
images of 64 by 64 pixels. One folder has ten times as many images as the other. What is
measured is the largest resident set that the operating system counted for the finished process, see
benchmarks/training_memory.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, Summary, Target, main, ratios
from PIL import Image
from training_memory import peak_memory

from perigee.blocks.measures import Metrics
from perigee.configuration.runs import resolved_run
from perigee.identity.products import dataset_identity

FEW, TIMES, TEST_IMAGES, SIDE, CLASSES = 2000, 10, 100, 64, 4
PERIGEE = [sys.executable, "-m", "perigee"]


def grow(folder: Path, train_images: int) -> None:
    """An ImageFolder of links to a few random images."""
    random = np.random.default_rng(0)
    for split, count in (("train", train_images), ("val", TEST_IMAGES)):
        for label in range(CLASSES):
            of_class = folder / split / f"class{label}"
            of_class.mkdir(parents=True)
            first = of_class / "0.png"
            pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(first)
            for number in range(1, count // CLASSES):
                os.link(first, of_class / f"{number}.png")


def spec_of(train_images: int) -> dict[str, Any]:
    """The run on a folder of so many training images, named after their number."""
    return {
        "dataset": {
            "name": "image_folder",
            "folder": str(train_images),
            "train_images": train_images,
            "resolution": SIDE,
        },
        "task": {"name": "streamed_classification"},
        "model": {"name": "convnet", "scale_invariant": True, "width": 4},
        "optimiser": {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.001},
        "batch_size": 100,
        "seed": 0,
    }


def job_memory(root: Path, train_images: int) -> float:
    """The peak of a job that trains an epoch on a folder of so many images, in GiB."""
    run = resolved_run(spec_of(train_images), "run", "benchmark")
    dataset = root / dataset_identity(run.dataset).folder
    given = ["--downloads", root, "--no-download"]
    if not dataset.is_dir():
        grow(root / str(train_images), train_images)
        built = json.dumps(run.dataset.to_dict())
        subprocess.run(
            [*PERIGEE, "build-dataset", "--spec", built, "--out", dataset, *given], check=True
        )
    told = {
        "run": run.to_dict(),
        "epochs": 1,
        "measures": [Metrics().to_dict()],
        "dataset": str(dataset),
    }
    with tempfile.TemporaryDirectory() as out:
        options = ["--out", f"{out}/run", "--device", "cpu"]
        return peak_memory([*PERIGEE, "train", "--spec", json.dumps(told), *options])


def measure(repetitions: int) -> Report:
    few, many = [], []
    with tempfile.TemporaryDirectory() as root:
        for _ in range(repetitions):
            few.append(job_memory(Path(root), FEW))
            many.append(job_memory(Path(root), TIMES * FEW))
    ratio = f"{TIMES * FEW} images / {FEW} images"
    return Report(
        figures={
            ratio: ratios(many, few),
            f"{FEW} images: GiB": Summary.of(few),
            f"{TIMES * FEW} images: GiB": Summary.of(many),
        },
        target=Target(ratio, "<=", 1.05),
        conditions={"run": spec_of(FEW)},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=3, measure=measure)
