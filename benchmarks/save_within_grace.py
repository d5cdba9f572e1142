"""The time from TERM to the end of a training job of ResNet-50, whose state is saved by then.

The job is the real command line of rule train_run, on the CPU with one thread: the network and the
update rule of `smd_fig3` with momentum, and the measure `layers`, on batches of 2 streamed images
of 64 by 64 pixels. The signal comes between two of its ordinary saves. The state has 25.6 million
weights, their velocities, and BatchNorm's statistics.

The files that appear divide that time: until the new state's file is begun the job takes the rest
of its step, writes the logs, copies the state and computes its checksum; then it writes the file,
forces it to the disk and renames it; what is left is the end of the process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Report, Summary, Target, main
from PIL import Image

from perigee.blocks.measures import Layers
from perigee.identity.products import dataset_identity
from perigee.jobs.shared import GRACE
from perigee.planning.plan import make_plan
from perigee.spec import RunSpec
from perigee.store.runs import unfinished_folder
from perigee.training.saved_state import GENERATIONS

SIDE, BATCH, TRAIN_IMAGES, TEST_IMAGES, CLASSES = 64, 2, 1000, 1000, 1000
SAVE_INTERVAL, AFTER_SAVE = 20, 3
"""Seconds between ordinary saves, and from one of them to the signal."""

LOOK = 0.005
LATEST = GENERATIONS[0]
PERIGEE = [sys.executable, "-m", "perigee"]
TOTAL = "TERM to exit: s"
PARTS = ("of it until the file is begun: s", "of it writing the file: s", "of it ending: s")


def grow(folder: Path) -> None:
    """An ImageFolder of random images."""
    random = np.random.default_rng(0)
    for split, count in (("train", TRAIN_IMAGES), ("val", TEST_IMAGES)):
        for number in range(count):
            of_class = folder / split / f"class{number % CLASSES}"
            of_class.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(of_class / f"{number}.png")


def run_of_paper() -> RunSpec:
    """The run of smd_fig3 with momentum, on smaller images and batches."""
    runs = make_plan(["smd"], "paper").figures["smd_fig3"].runs
    given = next(run.spec for run in runs if run.spec.optimiser.parameters["momentum"])
    images = {"folder": "images", "train_images": TRAIN_IMAGES, "resolution": SIDE}
    told = given.to_dict()
    return RunSpec.from_dict(
        told | {"dataset": {**told["dataset"], **images}, "batch_size": BATCH, "seed": 100}
    )


def told_of(spec: RunSpec, root: Path) -> dict[str, Any]:
    """The spec for the job; builds the data set."""
    grow(root / "images")
    dataset = root / dataset_identity(spec.dataset).folder
    build = [*PERIGEE, "build-dataset", "--spec", json.dumps(spec.dataset.to_dict())]
    build += ["--out", str(dataset), "--downloads", str(root), "--no-download"]
    subprocess.run(build, cwd=ROOT, check=True)
    measures = [Layers().to_dict()]
    return {"run": spec.to_dict(), "epochs": 90, "measures": measures, "dataset": str(dataset)}


def number_of(path: Path) -> int | None:
    """The number by which the file system knows a file; None if it is not there."""
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


def times_of_stop(told: dict[str, Any], out: Path) -> tuple[float, ...]:
    """Start a job, tell it to stop, and time its end.

    Returns:
        Seconds from the signal to the beginning of the file, to its last name, and to the exit.
    """
    train = [*PERIGEE, "train", "--spec", json.dumps(told), "--out", str(out), "--device", "cpu"]
    process = subprocess.Popen(
        [*train, "--save-interval", str(SAVE_INTERVAL)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = unfinished_folder(out, out.name)
    latest = folder / LATEST
    while not latest.exists():
        if process.poll() is not None:
            sys.exit(f"The job ended with {process.returncode} before it saved anything.")
        time.sleep(LOOK)
    time.sleep(AFTER_SAVE)
    before, known = number_of(latest), set(folder.iterdir())
    start = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    begun = saved = 0.0
    while process.poll() is None:
        now = time.perf_counter() - start
        if not begun and set(folder.iterdir()) - known:
            begun = now
        if not saved and number_of(latest) not in (before, None):
            saved = now
        time.sleep(LOOK)
    end = time.perf_counter() - start
    if process.returncode != 128 + signal.SIGTERM or not 0 < begun <= saved:
        sys.exit(
            f"The job ended with {process.returncode}, and its state was not seen to be saved."
        )
    return begun, saved, end


def measure(repetitions: int) -> Report:
    spec = run_of_paper()
    found, sizes = [], []
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        root = Path(name)
        told = told_of(spec, root)
        for repetition in range(repetitions):
            out = root / f"run{repetition}"
            found.append(times_of_stop(told, out))
            sizes.append((unfinished_folder(out, out.name) / LATEST).stat().st_size)
    begun, saved, end = (np.array(one) for one in zip(*found, strict=True))
    parts = (begun, saved - begun, end - saved)
    return Report(
        figures={
            TOTAL: Summary.of(end.tolist()),
            **{part: Summary.of(one.tolist()) for part, one in zip(PARTS, parts, strict=True)},
            "the state's file: MB": Summary.of([size / 1e6 for size in sizes]),
        },
        target=Target(TOTAL, "<=", GRACE),
        conditions={
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "images": f"{SIDE} x {SIDE}",
            "run": spec.to_dict(),
        },
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=3, measure=measure)
