"""The files of evaluations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PREDICTIONS, LABELS, PREDICTED_EPOCHS = "predictions.npy", "labels.npy", "predictions.json"


@dataclass(frozen=True)
class Predictions:
    """Class probabilities on the test set, memory-mapped.

    Attributes:
        probabilities: float32, (checkpoints, images, classes), memory-mapped.
        labels: (images,), classes counted from 0.
        epochs: the epoch of each checkpoint.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.integer]
    epochs: tuple[int, ...]

    @classmethod
    def load(cls, folder: Path) -> Predictions:
        """Load the predictions in a product's folder; the files are not verified here."""
        described = json.loads((folder / PREDICTED_EPOCHS).read_text(encoding="utf-8"))
        return cls(
            np.load(folder / PREDICTIONS, mmap_mode="r", allow_pickle=False),
            np.load(folder / LABELS, allow_pickle=False),
            tuple(described["epochs"]),
        )


def write_labels_and_epochs(folder: Path, labels: np.ndarray, epochs: Sequence[int]) -> None:
    """Write labels.npy and predictions.json."""
    np.save(folder / LABELS, labels)
    text = json.dumps({"epochs": list(epochs)}) + "\n"
    (folder / PREDICTED_EPOCHS).write_text(text, encoding="utf-8")
