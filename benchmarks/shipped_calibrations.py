"""The record of calibrations that ships with Perigee, made of what was measured on a GPU.

    python benchmarks/shipped_calibrations.py

reads benchmarks/results/gpu/h200_training.json and writes workflow/calibrations.json. Only kinds
of runs that were measured are in it. That file says networks, mini-batches, precision and measures.
The rest is our reading of it: SGD without momentum, no augmentation, and the data set CIFAR-10,
whose images have the same shape and as many classes. It does not say whether the networks were
scale-invariant; those differ by the training of BatchNorm's location and scale and of the last
layer, a few of a step's hundred kernels, so both are given the time measured (our choice).
"""

from __future__ import annotations

import json
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

MEASURES = {"ours": [], "steps": ["steps"], "layers": ["layers"]}
"""The measures that were taken, by the word for them."""

BATCH_SIZE = 128


def calibrations(source: Path) -> Calibrations:
    """The record that a file of measurements gives."""
    told = json.loads(source.read_text(encoding="utf-8"))
    entries = [
        _calibration(told, network, word, scale_invariant)
        for network in NETWORKS
        for scale_invariant in (True, False)
        for word in MEASURES
    ]
    return Calibrations(
        about=f"First guesses of time. Made of {SOURCE} by benchmarks/shipped_calibrations.py.",
        calibrations=tuple(entries),
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
    write_calibrations(CALIBRATIONS, calibrations(ROOT / SOURCE))
