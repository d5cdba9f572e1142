"""The record of calibrations that ships with Perigee, made of what was measured on a GPU.

    python benchmarks/shipped_calibrations.py

reads benchmarks/results/gpu/h200_training.json, and what benchmarks/gpu.py wrote beside it on any
card, and writes workflow/calibrations.json. Only kinds of runs that were measured are in it. Of the
latter these are the captured steps, without measures, and whole runs with theirs. The former says
networks, mini-batches, precision and measures. The rest is our reading of it: SGD without momentum,
no augmentation, and the data set CIFAR-10, whose images have the same shape and as many classes. It
does not say whether the networks were scale-invariant; those differ by the training of BatchNorm's
location and scale and of the last layer, a few of a step's hundred kernels, so both are given the
time measured (our choice).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perigee.configuration.runs import resolved_run
from perigee.data.order import steps_per_epoch
from perigee.paths import CALIBRATIONS, ROOT
from perigee.planning.calibrations import Calibration, Calibrations, write_calibrations

SOURCE = "benchmarks/results/gpu/h200_training.json"
MEASURED = "ms per step (min, median, max)"
NETWORKS: dict[str, tuple[dict[str, Any], str, int]] = {
    "convnet float32": ({"name": "convnet", "width": 32}, "float32", 300),
    "resnet16 float32": ({"name": "resnet18", "width": 16}, "float32", 300),
    "resnet64 tf32": ({"name": "resnet18", "width": 64}, "tf32", 200),
}
"""Network, precision and number of timed steps: six epochs of 50 steps, of the last one four."""

FURTHER = "gpu_*.json"
"""The files of benchmarks/gpu.py, beside the other one."""

MEASURES = {"ours": [], "steps": ["steps"], "layers": ["layers"]}
"""The measures that were taken, by the word for them."""

BATCH_SIZE = 128


def calibrations(source: Path) -> Calibrations:
    """The record that a file of measurements gives, with those of benchmarks/gpu.py beside it."""
    told = json.loads(source.read_text(encoding="utf-8"))
    entries = [
        _calibration(told, network, word, scale_invariant)
        for network in NETWORKS
        for scale_invariant in (True, False)
        for word in MEASURES
    ]
    return Calibrations(
        about="First guesses of time. Made of benchmarks/results/gpu/ by "
        "benchmarks/shipped_calibrations.py.",
        calibrations=tuple({one.kind: one for one in [*entries, *further(source.parent)]}.values()),
    )


def further(folder: Path) -> Iterator[Calibration]:
    """The captured steps and the runs that benchmarks/gpu.py measured, of all cards in a folder."""
    for file in sorted(folder.glob(FURTHER)):
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["tiny"] or "card" not in told:
            continue
        for name, item in told["items"].items():
            is_step = name.startswith("step: ") and name.endswith(" captured")
            is_run = name.startswith("runs: ")
            if not (is_step or is_run) or "figures" not in item:
                continue
            found = item["figures"]
            taken = found["ms per step"]
            milliseconds = taken if is_run else taken["median"]
            yield Calibration(
                device=told["card"],
                hardware=told["hardware"],
                versions=told["versions"],
                date=told["date"],
                run=found["run"],
                measures=tuple(found["measures"]) if is_run else (),
                steps_per_epoch=found["steps per epoch"],
                steps=found["timed steps"],
                seconds_per_step=round(milliseconds / 1000, 9),
                seconds_per_pass=found["s per pass"] if is_run else None,
            )


def _calibration(told: Any, network: str, word: str, scale_invariant: bool) -> Calibration:
    model, precision, steps = NETWORKS[network]
    spec = {
        "dataset": {"name": "cifar10"},
        "model": model | {"scale_invariant": scale_invariant},
        "optimiser": {"name": "sgd", "learning_rate": 0.1},
        "batch_size": BATCH_SIZE,
        "precision": precision,
        "seed": 0,
    }
    run = resolved_run(spec, network, SOURCE)
    _, median, _ = told[MEASURED][network][word]
    return Calibration(
        device=told["card"],
        hardware={"gpu": told["card"], "driver": told["driver"]},
        versions={"torch": told["torch"], "cudnn": str(told["cudnn"])},
        date=None,
        run=run.to_dict(),
        measures=tuple({"name": name} for name in MEASURES[word]),
        steps_per_epoch=steps_per_epoch(run.dataset.train_images, BATCH_SIZE, run.gradient),
        steps=steps,
        seconds_per_step=round(median / 1000, 9),
        seconds_per_pass=None,
    )


if __name__ == "__main__":
    made = calibrations(ROOT / SOURCE)
    write_calibrations(CALIBRATIONS, made)
    for device, number in Counter(one.device for one in made.calibrations).items():
        print(f"{number} kinds of runs on {device}")
