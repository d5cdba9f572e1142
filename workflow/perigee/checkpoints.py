"""A run's kept checkpoints: which numbers of a row are which weights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from perigee.errors import PerigeeError
from perigee.store.trajectories import DESCRIPTION, TRAJECTORY


@dataclass(frozen=True)
class Trajectory:
    """The kept checkpoints of a run, left on the disk.

    Attributes:
        path: of the rows, (checkpoints, numbers).
        epochs: of each row.
        parts: of a row in order, each a mapping of name, shape and scale_invariant; the
            scale-invariant weights come first.
    """

    path: Path
    epochs: tuple[int, ...]
    parts: tuple[dict[str, Any], ...]

    @classmethod
    def of_run(cls, folder: Path) -> Trajectory:
        """That of a run's version that keeps checkpoints; the files are not verified here."""
        described = json.loads((folder / DESCRIPTION).read_text())
        return cls(folder / TRAJECTORY, tuple(described["epochs"]), tuple(described["parts"]))

    @property
    def weights(self) -> int:
        """How many scale-invariant weights there are."""
        return sum(math.prod(part["shape"]) for part in self.parts if part["scale_invariant"])

    def checkpoint(self, epoch: int) -> dict[str, NDArray[np.floating]]:
        """Trained parameters and BatchNorm's statistics by name.

        Raises:
            PerigeeError: no checkpoint of that epoch was kept.
        """
        row = self._rows()[self._row_of(epoch)]
        found = {}
        start = 0
        for part in self.parts:
            end = start + math.prod(part["shape"])
            found[part["name"]] = np.array(row[start:end]).reshape(part["shape"])
            start = end
        return found

    def copy(self, folder: Path, epochs: Sequence[int]) -> None:
        """Write the files of the trajectory that has the checkpoints of some epochs only.

        Args:
            folder: for the files.
            epochs: which.

        Raises:
            PerigeeError: no checkpoint of one of them was kept.
        """
        rows, wanted = self._rows(), [self._row_of(epoch) for epoch in epochs]
        header = npy.header_data_from_array_1_0(rows) | {"shape": (len(wanted), rows.shape[1])}
        with (folder / TRAJECTORY).open("wb") as stream:
            npy.write_array_header_1_0(stream, header)
            for row in wanted:
                stream.write(rows[row].tobytes())
        describe(folder, epochs, self.parts)

    def _rows(self) -> NDArray[np.floating]:
        rows: NDArray[np.floating] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return rows

    def _row_of(self, epoch: int) -> int:
        if epoch not in self.epochs:
            kept = ", ".join(map(str, self.epochs))
            raise PerigeeError(f"{self.path} has no checkpoint of epoch {epoch}, only of {kept}.")
        return self.epochs.index(epoch)


def describe(folder: Path, epochs: Sequence[int], parts: Sequence[dict[str, Any]]) -> None:
    """Write trajectory.json; see `Trajectory`."""
    described = {"epochs": list(epochs), "parts": list(parts)}
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=1) + "\n")
