"""A run's kept checkpoints: which numbers of a row are which weights."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
        if epoch not in self.epochs:
            kept = ", ".join(map(str, self.epochs))
            raise PerigeeError(f"{self.path} has no checkpoint of epoch {epoch}, only of {kept}.")
        row = np.load(self.path, mmap_mode="r", allow_pickle=False)[self.epochs.index(epoch)]
        found = {}
        start = 0
        for part in self.parts:
            end = start + math.prod(part["shape"])
            found[part["name"]] = np.array(row[start:end]).reshape(part["shape"])
            start = end
        return found
