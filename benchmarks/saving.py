"""What saving a run's state costs, as a share of training time at the default interval.

The state is saved every `save_interval` seconds (config/config.yaml) in the training process. Two
states are saved: that of a run of periodic_fig3 at laptop scale at its end, and one of the size of
a ResNet-18 of width 64 with momentum (11 million weights) with the steps of 1,000 epochs of CIFAR.
And the watch that looks after every step whether it is time to save is timed against none.

    python benchmarks/saving.py
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import Report, Summary, Target, laptop_run, main, ratios, timed_alternately

from perigee import registry
from perigee.configuration.reading import read_yaml
from perigee.interruption import StopRequest
from perigee.jobs.watching import RunWatch
from perigee.paths import ROOT
from perigee.progress import RunProgress
from perigee.training.execution import prepare
from perigee.training.record import METRICS_COLUMNS, RunRecord
from perigee.training.saved_state import SavedState
from perigee.training.trainer import Trainer

LAPTOP_EPOCHS, LAPTOP_STEPS = 300, 12
RESNET_WEIGHTS, CIFAR_EPOCHS, CIFAR_STEPS = 11_000_000, 1000, 391
WARM_UP = 2


def record_of(epochs: int, steps: int) -> RunRecord:
    """As full as that of a finished run."""
    rows = np.random.default_rng(0).random((epochs, steps, 4), dtype=np.float32)
    metrics = [dict.fromkeys(METRICS_COLUMNS, 1 / 3)] * (epochs + 1)
    return RunRecord(metrics, list(rows))


def measure(repetitions: int) -> Report:
    interval = read_yaml(ROOT / "config/config.yaml")["save_interval"]
    spec = laptop_run()
    dataset = registry.load("dataset", spec.dataset)(Path("data"), download=False)
    trainer = Trainer(spec, dataset, prepare("cpu", spec.precision, dataset.image_shape))
    laptop = SavedState(
        "0" * 16, trainer.state(), record_of(LAPTOP_EPOCHS, LAPTOP_STEPS), 0.0, (), 0
    )
    weights = {name: torch.rand(RESNET_WEIGHTS) for name in ("weights", "velocity")}
    resnet = replace(laptop, tensors=weights, record=record_of(CIFAR_EPOCHS, CIFAR_STEPS))
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        seconds = {}
        for name, state in (("laptop run", laptop), ("11 million weights", resnet)):
            seconds[name] = []
            for _ in range(WARM_UP + repetitions):
                start = time.perf_counter()
                state.save(Path(folder) / name)
                seconds[name].append(time.perf_counter() - start)
        watch = RunWatch(
            trainer,
            laptop,
            Path(folder),
            math.inf,
            RunProgress("run", LAPTOP_EPOCHS, math.inf),
            StopRequest(),
            None,
            {},
        )
        record = RunRecord()
        epochs = timed_alternately(
            {
                "watched": lambda epoch: trainer.train_epoch(
                    epoch, None, lambda rows: watch.after_step(record, rows)
                ),
                "alone": lambda epoch: trainer.train_epoch(epoch),
            },
            20 * repetitions,
            WARM_UP,
        )
    shares = {
        name: [100 * s / interval for s in found[WARM_UP:]] for name, found in seconds.items()
    }
    return Report(
        figures={
            **{f"{name}: % of training time": Summary.of(found) for name, found in shares.items()},
            **{
                f"{name}: ms a save": Summary.of([1000 * s for s in found[WARM_UP:]])
                for name, found in seconds.items()
            },
            "an epoch watched / alone": ratios(epochs["watched"], epochs["alone"]),
        },
        target=Target("11 million weights: % of training time", "<=", 2),
        conditions={"save_interval, seconds": interval, "threads": torch.get_num_threads()},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=10, measure=measure)
