"""A run's kept checkpoints: which numbers of a row are which weights."""

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
    """The kept checkpoints of a run, left on the disk.

    Attributes:
        path: of the rows; each has the epoch, and all numbers as one vector.
        epochs: of the checkpoints.
        positions: the row of each.
        parts: of a vector in order, each a mapping of name, shape and scale_invariant; the
            scale-invariant weights come first.
    """

    path: Path
    epochs: tuple[int, ...]
    positions: tuple[int, ...]
    parts: tuple[dict[str, Any], ...]

    @classmethod
    def of_measure(
        cls, folder: Path, epochs: int | None = None, interval: int = 1
    ) -> KeptCheckpoints:
        """The checkpoints in a measure's folder; the files are not verified here.

        Args:
            folder: of the measure `perigee.measures.checkpoints`.
            epochs: up to which; None takes all.
            interval: takes every so many epochs only, and the last.
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
        """How many scale-invariant weights there are."""
        return sum(math.prod(part["shape"]) for part in self.parts if part["scale_invariant"])

    def checkpoint(self, epoch: int) -> dict[str, NDArray[Any]]:
        """The arrays of an epoch's state by name.

        Raises:
            PerigeeError: no checkpoint of that epoch was kept.
        """
        return split_vector(self.vector(epoch), self.parts)

    def vector(self, epoch: int) -> NDArray[np.floating]:
        """All numbers of an epoch's state, (numbers,).

        Raises:
            PerigeeError: no checkpoint of that epoch was kept.
        """
        found: NDArray[np.floating] = self.vectors([epoch])[0]
        return found

    def vectors(self, epochs: Sequence[int]) -> NDArray[np.floating]:
        """All numbers of some epochs' states, (epochs, numbers).

        Raises:
            PerigeeError: no checkpoint of one of them was kept.
        """
        absent = next((epoch for epoch in epochs if epoch not in self.epochs), None)
        if absent is not None:
            kept = ", ".join(map(str, self.epochs))
            raise PerigeeError(f"{self.path} has no checkpoint of epoch {absent}, only of {kept}.")
        # Mapped anew each time: pages that were read count as this process's memory while mapped.
        rows = np.load(self.path, mmap_mode="r", allow_pickle=False)["values"]
        positions = [self.positions[self.epochs.index(epoch)] for epoch in epochs]
        found: NDArray[np.floating] = np.array(rows[positions])
        return found


def split_vector(vector: np.ndarray, parts: Sequence[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """The arrays that were written one after the other, by name.

    Args:
        vector: (numbers,).
        parts: as of `KeptCheckpoints`.
    """
    found, start = {}, 0
    for part in parts:
        end = start + math.prod(part["shape"])
        found[part["name"]] = np.array(vector[start:end]).reshape(part["shape"])
        start = end
    return found
