"""A run's kept checkpoints, with the weights that the numbers of a row stand for."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perigee.errors import PerigeeError

ROWS, PROVENANCE = "rows.npy", "provenance.json"


@dataclass(frozen=True)
class KeptCheckpoints:
    """The kept checkpoints of a run, memory-mapped.

    Attributes:
        path: the file of the rows, each of which has the epoch, and all numbers as one vector.
        epochs: the epochs of the checkpoints.
        positions: the row of each checkpoint.
        parts: the parts of a vector in order, each a mapping of name, shape and scale_invariant;
            the scale-invariant weights come first.
    """

    path: Path
    epochs: tuple[int, ...]
    positions: tuple[int, ...]
    parts: tuple[dict[str, Any], ...]

    @classmethod
    def of_measure(
        cls, folder: Path, epochs: int | None = None, interval: int = 1
    ) -> KeptCheckpoints:
        """Find the checkpoints in a measure's folder; the files are not verified here.

        Args:
            folder: the folder of the measure `perigee.measures.checkpoints`.
            epochs: the last epoch to include; None includes all.
            interval: include only every so many epochs, and the last.
        """
        provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        found = np.load(folder / ROWS, mmap_mode="r", allow_pickle=False)["epoch"].tolist()
        within = [epoch for epoch in found if epochs is None or epoch <= epochs]
        kept = [epoch for epoch in within if epoch % interval == 0 or epoch == within[-1]]
        positions = tuple(found.index(epoch) for epoch in kept)
        parts = tuple(provenance["details"]["description"]["parts"])
        return cls(folder / ROWS, tuple(kept), positions, parts)

    @property
    def weights(self) -> int:
        """The number of scale-invariant weights."""
        return sum(math.prod(part["shape"]) for part in self.parts if part["scale_invariant"])

    def checkpoint(self, epoch: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of an epoch's state by name.

        Raises:
            PerigeeError: no checkpoint of that epoch was kept.
        """
        return split_vector(self.vector(epoch), self.parts)

    def vector(self, epoch: int) -> NDArray[np.floating]:
        """Return all numbers of an epoch's state, (numbers,).

        Raises:
            PerigeeError: no checkpoint of that epoch was kept.
        """
        vector: NDArray[np.floating] = self.vectors([epoch])[0]
        return vector

    def vectors(self, epochs: Sequence[int]) -> NDArray[np.floating]:
        """Return all numbers of some epochs' states, (epochs, numbers).

        Raises:
            PerigeeError: no checkpoint of one of them was kept.
        """
        absent = next((epoch for epoch in epochs if epoch not in self.epochs), None)
        if absent is not None:
            kept = ", ".join(map(str, self.epochs))
            raise PerigeeError(f"{self.path} has no checkpoint of epoch {absent}, only of {kept}.")
        # Mapped again each time: pages that were read count as this process's memory while mapped.
        rows = np.load(self.path, mmap_mode="r", allow_pickle=False)["values"]
        positions = [self.positions[self.epochs.index(epoch)] for epoch in epochs]
        found: NDArray[np.floating] = np.asarray(rows[positions])
        return found


def split_vector(vector: np.ndarray, parts: Sequence[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Split a vector into the arrays that it was made of, by name.

    Args:
        vector: the vector, (numbers,).
        parts: see `KeptCheckpoints`.
    """
    found, start = {}, 0
    for part in parts:
        end = start + math.prod(part["shape"])
        found[part["name"]] = np.array(vector[start:end]).reshape(part["shape"])
        start = end
    return found
