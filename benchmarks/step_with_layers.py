"""The time of a step of ResNet-50 with the measure `layers`, against that of a step without.

The measure takes norms, gradient norms, angular updates and products with the velocity of all 53
convolutions in every step. Both ways train the network of the paper `smd` on batches of 32 random
images of 64 by 64 pixels on the CPU, in turns, in one process with one thread: the fewer pixels,
the more the measure weighs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import Report, Summary, Target, main, ratios, timed_alternately

from perigee import registry
from perigee.blocks.measures import Layers
from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Trainer
from perigee.planning.plan import make_plan
from perigee.spec import RunSpec
from perigee.training.loop import train
from perigee.training.recording import Recorder

WITH, WITHOUT = "with layers", "without"
BATCH, STEPS, SIDE, CLASSES = 32, 3, 64, 10
WARM_UP = 1


def images(count: int) -> ArraySplit:
    """Random images with random labels."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8)
    return ArraySplit(pixels, random.integers(0, CLASSES, count))


def run_of_paper() -> RunSpec:
    """The network and the update rule of smd_fig3 with momentum, on a smaller batch."""
    runs = make_plan(["smd"], "paper").figures["smd_fig3"].runs
    given = next(run.spec for run in runs if run.spec.optimiser.parameters["momentum"])
    told = given.to_dict() | {
        "dataset": {"name": "digits"},  # a placeholder
        "task": {"name": "classification"},
        "augmentation": {"name": "none"},
        "batch_size": BATCH,
    }
    return RunSpec.from_dict(told)


def measure(repetitions: int) -> Report:
    spec = run_of_paper()
    splits = {"train": images(BATCH * STEPS), "test": images(BATCH)}
    dataset = ArrayDataset(splits, CLASSES, (127.5,) * 3, (64.0,) * 3, "random images")
    recorders = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in (WITH, WITHOUT):
            trainer = Trainer(spec, dataset, prepare("cpu", spec.precision, dataset.image_shape))
            measures = {Layers.name: registry.load(Layers())(trainer)} if way == WITH else {}
            (Path(folder) / way).mkdir()
            recorders[way] = Recorder(trainer, Path(folder) / way, measures, 0)

        def epoch(way: str, number: int) -> None:
            recorder = recorders[way]
            recorder.epochs = number + 1
            train(recorder.trainer, recorder)

        seconds = timed_alternately(
            {way: lambda number, way=way: epoch(way, number) for way in recorders},  # type: ignore[misc]
            repetitions,
            WARM_UP,
        )
    ratio = f"{WITH} / {WITHOUT}"
    return Report(
        figures={
            ratio: ratios(seconds[WITH], seconds[WITHOUT]),
            **{
                f"{way}: s per step": Summary.of([one / STEPS for one in found])
                for way, found in seconds.items()
            },
        },
        target=Target(ratio, "<=", 1.10),
        conditions={
            "threads": torch.get_num_threads(),
            "images": f"{SIDE} x {SIDE}",
            "run": spec.to_dict(),
        },
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=15, measure=measure)
