"""Finished runs as analyses are given them, with measures written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.evaluation.files import PREDICTIONS, write_labels_and_epochs
from perigee.store.provenance import PROVENANCE
from perigee.store.runs import ROWS
from support.signals import Planted, Signal, Wobbling, sawtooth

IMAGES, CLASSES, WEIGHTS = 5, 3, 4
"""The numbers of test images, classes and scale-invariant weights of `write_kept_run`."""


def write_measure(folder: Path, rows: pd.DataFrame | np.ndarray, **description: Any) -> Path:
    """Write the folder of a measure: its rows, and the part of provenance that readers need."""
    folder.mkdir(parents=True)
    if isinstance(rows, pd.DataFrame):
        rows = rows.to_records(index=False).view(np.ndarray)
    np.save(folder / ROWS, rows)
    told = {"details": {"description": description}}
    (folder / PROVENANCE).write_text(json.dumps(told), encoding="utf-8")
    return folder


def read_measure(run: RunInput, measure: str) -> pd.DataFrame:
    """The rows of a measure, as they were written."""
    return pd.DataFrame(np.load(run.measures[measure] / ROWS))


def with_measure(run: RunInput, measure: str, rows: pd.DataFrame) -> RunInput:
    """The run with other rows of a measure."""
    folder = run.measures[measure]
    other = folder.with_name(f"{folder.name}-other")
    return replace(run, measures={**run.measures, measure: write_measure(other, rows)})


def with_hits(run: RunInput, hits: np.ndarray | None = None) -> RunInput:
    """The run with the measure ``test_hits``, (epochs, images); random ones if none are given."""
    epochs = read_measure(run, "metrics")["epoch"].to_numpy()
    if hits is None:
        hits = np.random.default_rng(0).random((len(epochs), IMAGES)) < 0.8
    rows = np.empty(len(epochs), [("epoch", "<i4"), ("test_hits", "?", (hits.shape[1],))])
    rows["epoch"], rows["test_hits"] = epochs, hits
    folder = write_measure(run.measures["metrics"].with_name("test_hits"), rows)
    return replace(run, measures={**run.measures, "test_hits": folder})


def write_run(
    folder: Path,
    metrics: pd.DataFrame,
    swept: Mapping[str, Any] | None = None,
    *,
    steps: pd.DataFrame | None = None,
    further: Mapping[str, pd.DataFrame] | None = None,
    steps_per_epoch: int = 1,
    **told: Any,
) -> RunInput:
    """A run with these metrics, a row per epoch.

    Args:
        folder: the folder to create.
        metrics: the metrics, with the column ``epoch``.
        swept: the values that distinguish it from others.
        steps: the measure of that name, a row per step.
        further: measures by name.
        steps_per_epoch: updates of the weights.
        told: further arguments of `RunInput`.
    """
    tables = {"metrics": metrics, **(further or {})}
    if steps is not None:
        tables["steps"] = steps
    return RunInput(
        epochs=int(metrics["epoch"].iloc[-1]),
        steps_per_epoch=steps_per_epoch,
        measures={name: write_measure(folder / name, rows) for name, rows in tables.items()},
        swept=swept or {},
        **{"stopped": False, **told},
    )


def write_stepping_run(folder: Path, lengths: list[int], learning_rate: float = 0.2) -> RunInput:
    """A run whose steps, 5 per epoch, are a signal without noise; the rate halves at epoch 20."""
    signal = sawtooth(lengths, 30, 2.0, 0.0, 0)
    times = np.arange(len(signal.loss))
    steps = pd.DataFrame(
        {
            "loss": signal.loss,
            "gradient_norm": 3.0 + np.sin(times),
            "weight_norm": signal.norm,
            "cosine_distance": 1e-4 * (2 + np.cos(times)),
        }
    )
    epochs = np.arange(2 + times[-1] // 5)
    metrics = pd.DataFrame(
        {
            "epoch": epochs,
            "learning_rate": learning_rate * np.where(epochs < 20, 1, 0.5),
            "train_error": epochs / 100,
        }
    )
    return write_run(folder, metrics, {"seed": 7}, steps=steps, steps_per_epoch=5)


@dataclass(frozen=True)
class Training:
    """A run by SGD of which every step is measured, with planted events.

    Effective gradient norms are ``gradient`` times that which keeps rho = 1 constant, with some
    noise, and proportional to a power of rho. In a destabilisation they grow by a factor and shrink
    again.

    Attributes:
        signal: its loss and norm.
        test_errors: the test error up to the first destabilisation, and after each.
        error_delay: the epochs after each peak of rho for which the train error is not small.
        gradient, power: of the effective gradient norms.
        surge: the factor by which they grow in each destabilisation, or in all.
        surge_peak: the epochs from the rise of the loss to their peak.
        turn: the cosine distance of each step over that which its gradient makes.
        steps_per_epoch: updates of the weights.
    """

    signal: Planted | Wobbling
    test_errors: tuple[float, ...] = ()
    error_delay: float = 0.0
    gradient: float = 1.0
    power: float = 1.0
    surge: float | tuple[float, ...] = 10.0
    surge_peak: float = 1.5
    turn: float = 1.0
    steps_per_epoch: int = 10

    def write(
        self, folder: Path, swept: Mapping[str, Any], rate: float, decay: float, seed: int
    ) -> RunInput:
        """Write the run.

        Args:
            folder: the folder to create.
            swept: the values that distinguish it from others.
            rate, decay: eta and lambda.
            seed: of the noise.
        """
        epochs = np.arange(int(self.signal.end) + 1)
        times = np.arange(epochs[-1] * self.steps_per_epoch) / self.steps_per_epoch
        steady = math.sqrt(2 * decay / rate)
        rng = np.random.default_rng((seed, 2))
        noise = np.exp(0.1 * rng.standard_normal(len(times)))
        loss, norm = self.signal.at(times)
        gradient = self.gradient * steady * norm**self.power * self._surges(times) * noise
        steps = pd.DataFrame(
            {
                "loss": loss,
                "gradient_norm": gradient / norm,
                "weight_norm": norm,
                "cosine_distance": self.turn * (rate * gradient / norm**2) ** 2 / 2,
            }
        )
        loss, norm = self.signal.at(epochs)
        onsets = np.array(self.signal.onsets)
        small_from = np.array(self.signal.norm_peaks) + self.error_delay
        is_large = ((epochs[:, None] > onsets) & (epochs[:, None] < small_from)).any(axis=1)
        errors = self.test_errors or np.linspace(0.1, 0.05, len(onsets) + 1)
        mean_gradient = gradient.reshape(-1, self.steps_per_epoch).mean(axis=1)
        metrics = pd.DataFrame(
            {
                "epoch": epochs,
                "learning_rate": rate,
                "train_loss": loss,
                "train_error": np.where(is_large, 0.4, 0.0),
                "test_error": np.asarray(errors)[np.searchsorted(onsets, epochs)],
                "weight_norm": norm,
                "effective_learning_rate": rate / norm**2,
                "effective_gradient_norm": np.append(mean_gradient[:1], mean_gradient),
            }
        )
        optimiser = {"name": "sgd", "learning_rate": rate, "weight_decay": decay, "momentum": 0.0}
        return write_run(
            folder,
            metrics,
            swept,
            steps=steps,
            steps_per_epoch=self.steps_per_epoch,
            optimiser=optimiser,
        )

    def _surges(self, times: np.ndarray) -> np.ndarray:
        """The factor of the gradients at some times; its logarithm is piecewise linear."""
        onsets = np.array(self.signal.onsets)
        height = np.log(np.broadcast_to(self.surge, len(onsets)))
        since = times[:, None] - onsets
        shape = np.interp(since, [0, self.surge_peak, self.surge_peak + 2.5], [0, 1, 0])
        return np.asarray(np.exp((shape * height).sum(axis=1)))


def write_kept_run(folder: Path, signal: Signal, every: int, seed: int) -> RunInput:
    """A run with random checkpoints and predictions, and the metrics of a signal."""
    rng = np.random.default_rng(seed)
    epochs = kept_epochs(signal, every)
    numbers = rng.standard_normal((len(epochs), WEIGHTS + 2)).astype(np.float32)
    rows = np.empty(len(epochs), [("epoch", "<i4"), ("values", "<f4", (WEIGHTS + 2,))])
    rows["epoch"], rows["values"] = epochs, numbers
    parts = [
        {"name": "kernel", "shape": [2, 2], "scale_invariant": True},
        {"name": "running_mean", "shape": [2], "scale_invariant": False},
    ]
    everywhere = np.arange(len(signal.loss))
    metrics = pd.DataFrame(
        {
            "epoch": everywhere,
            "train_loss": signal.loss,
            "test_error": rng.integers(0, 20, len(signal.loss)) / 20,
            "weight_norm": signal.norm,
        }
    )
    logits = rng.random((len(epochs), IMAGES, CLASSES))
    probabilities = logits / logits.sum(axis=2, keepdims=True)
    run = write_run(folder / f"run{seed}", metrics, {"seed": seed}, checkpoint_interval=every)
    predictions = folder / f"predictions{seed}"
    predictions.mkdir()
    np.save(predictions / PREDICTIONS, probabilities.astype(np.float32))
    write_labels_and_epochs(predictions, np.arange(IMAGES) % CLASSES, epochs)
    kept = write_measure(folder / f"run{seed}" / "checkpoints", rows, parts=parts)
    return replace(
        run,
        measures={**run.measures, "checkpoints": kept},
        evaluations={"predictions": predictions},
    )


def kept_epochs(signal: Signal, every: int) -> Sequence[int]:
    """The epochs whose checkpoints `write_kept_run` keeps: the last one, too."""
    last = len(signal.loss) - 1
    return sorted({*range(0, last + 1, every), last})
