"""Measures, checkpoints and predictions of runs that nobody trained, written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.checkpoints import PROVENANCE, ROWS
from perigee.evaluation.files import PREDICTIONS, write_labels_and_epochs
from support.signals import Signal, sawtooth

STEPS_PER_EPOCH = 5
"""Of the runs of `run_with_steps`."""
IMAGES, CLASSES, WEIGHTS = 5, 3, 4
"""Of the runs of `run_with_checkpoints`."""


def write_measure(folder: Path, rows: Mapping[str, Any]) -> Path:
    """A measure's folder with these columns."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows).to_records(index=False)
    np.save(folder / ROWS, np.asarray(table, table.dtype))
    return folder


def written_run(
    measures: Mapping[str, Path], epochs: int, swept: Mapping[str, Any], **more: Any
) -> RunInput:
    """A run of which these measures are there."""
    values = {"steps_per_epoch": STEPS_PER_EPOCH, "stopped": False, **more}
    return RunInput(epochs=epochs, measures=measures, swept=swept, **values)


def run_with_steps(folder: Path, lengths: list[int], learning_rate: float = 0.2) -> RunInput:
    """A run whose steps are the synthetic signal, without noise."""
    signal = sawtooth(lengths, 30, 2.0, 0.0, 0)
    whole = len(signal.loss) - len(signal.loss) % STEPS_PER_EPOCH
    steps = np.arange(whole)
    epochs = np.arange(1 + whole // STEPS_PER_EPOCH)
    measures = {
        "steps": write_measure(
            folder / "steps",
            {
                "loss": signal.loss[:whole],
                "gradient_norm": 3.0 + np.sin(steps),
                "weight_norm": signal.norm[:whole],
                "cosine_distance": 1e-4 * (2 + np.cos(steps)),
            },
        ),
        "metrics": write_measure(
            folder / "metrics",
            {
                "epoch": epochs,
                "learning_rate": learning_rate * np.where(epochs < 20, 1, 0.5),
                "train_error": epochs / 100,
            },
        ),
    }
    return written_run(measures, len(epochs) - 1, {"seed": 7})


def run_with_checkpoints(folder: Path, signal: Signal, every: int, seed: int) -> RunInput:
    """A run with random checkpoints and predictions, and the metrics of a signal."""
    rng = np.random.default_rng(seed)
    count = len(signal.loss)
    epochs = list(range(0, count, every))
    checkpoints = folder / f"checkpoints{seed}"
    checkpoints.mkdir(parents=True)
    rows = np.zeros(len(epochs), [("epoch", "<i4"), ("values", "<f4", (WEIGHTS + 2,))])
    rows["epoch"] = epochs
    rows["values"] = rng.standard_normal((len(epochs), WEIGHTS + 2))
    np.save(checkpoints / ROWS, rows)
    parts = [
        {"name": "kernel", "shape": [2, 2], "scale_invariant": True},
        {"name": "running_mean", "shape": [2], "scale_invariant": False},
    ]
    described = {"details": {"description": {"parts": parts}}}
    (checkpoints / PROVENANCE).write_text(json.dumps(described))
    metrics = write_measure(
        folder / f"metrics{seed}",
        {
            "epoch": np.arange(count),
            "train_loss": signal.loss,
            "test_error": rng.integers(0, 20, count) / 20,
            "weight_norm": signal.norm,
        },
    )
    predictions = folder / f"predictions{seed}"
    predictions.mkdir()
    logits = rng.random((len(epochs), IMAGES, CLASSES))
    probabilities = logits / logits.sum(axis=2, keepdims=True)
    np.save(predictions / PREDICTIONS, probabilities.astype(np.float32))
    write_labels_and_epochs(predictions, np.arange(IMAGES) % CLASSES, epochs)
    return written_run(
        {"metrics": metrics, "checkpoints": checkpoints},
        count - 1,
        {"seed": seed},
        checkpoint_interval=every,
        evaluations={"predictions": predictions},
    )


def with_metrics(run: RunInput, **columns: Any) -> RunInput:
    """The run with other columns of metrics, given as of `pandas.DataFrame.assign`."""
    table = run.metrics().assign(**columns)
    folder = run.measures["metrics"]
    return replace(run, measures={**run.measures, "metrics": write_measure(folder, dict(table))})
