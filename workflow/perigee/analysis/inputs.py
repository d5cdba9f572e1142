"""The finished runs that an analysis is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perigee.checkpoints import ROWS, KeptCheckpoints

EPOCH = "epoch"
LARGEST = 2**63 - 1
"""The largest whole number that a column holds."""


@dataclass(frozen=True)
class RunInput:
    """A finished run.

    Attributes:
        epochs: the last epoch that is used; the files may have more.
        steps_per_epoch: updates of the weights in an epoch.
        measures: folder of each of its measures, by name.
        swept: the values that distinguish the run from the table's others, by dotted key.
        stopped: whether the run diverged: training ended early because the loss was not finite.
        fork_epoch: the epoch of its parent at which the run starts; 0 without a parent.
        checkpoint_interval: epochs between the checkpoints that are used.
        evaluations: folder of each evaluation of its checkpoints, by name.
        optimiser: the name of its optimiser, and all parameters.
        classes: how many classes its data have; 0 where that is not told.
    """

    epochs: int
    steps_per_epoch: int
    measures: Mapping[str, Path]
    swept: Mapping[str, Any]
    stopped: bool
    fork_epoch: int = 0
    checkpoint_interval: int = 1
    evaluations: Mapping[str, Path] = field(default_factory=dict)
    optimiser: Mapping[str, Any] = field(default_factory=dict)
    classes: int = 0

    @property
    def weight_decay(self) -> float | None:
        """Lambda of SGD; None if the run has another optimiser, or none is known."""
        return self.optimiser.get("weight_decay") if self.optimiser.get("name") == "sgd" else None

    @property
    def momentum(self) -> float:
        """The momentum of SGD, 0 without any."""
        return float(self.optimiser.get("momentum", 0.0))

    def labels(self) -> dict[str, Any]:
        """The swept values as a table can hold them: whole numbers beyond 64 bits become floats."""
        return {
            key: float(value) if isinstance(value, int) and abs(value) > LARGEST else value
            for key, value in self.swept.items()
        }

    def metrics(self, *further: str) -> pd.DataFrame:
        """The metrics, a row per epoch, with the columns of further measures beside them."""
        table = read_metrics(self.measures["metrics"], self.epochs)
        for name in further:
            table = table.merge(read_metrics(self.measures[name], self.epochs), on="epoch")
        return table

    def steps(self) -> pd.DataFrame:
        """The measure ``steps``: a row per step, with ``step`` from 0 and ``epoch`` from 1."""
        return table_of(self.rows("steps"), self.steps_per_epoch)

    def rows(self, measure: str) -> np.ndarray:
        """The rows of a measure up to the run's last epoch, memory-mapped.

        Returns:
            A read-only structured array; `perigee.measures` describes its columns.
        """
        rows: np.ndarray = np.load(self.measures[measure] / ROWS, mmap_mode="r", allow_pickle=False)
        if EPOCH in (rows.dtype.names or ()):
            return rows[: int(np.searchsorted(rows[EPOCH], self.epochs, side="right"))]
        return rows[: self.epochs * self.steps_per_epoch]

    def checkpoints(self) -> KeptCheckpoints:
        """The kept checkpoints."""
        return KeptCheckpoints.of_measure(
            self.measures["checkpoints"], self.epochs, self.checkpoint_interval
        )


def is_table(rows: np.ndarray) -> bool:
    """Return whether the rows of a measure hold only numbers and no arrays."""
    return all(rows.dtype[name].shape == () for name in rows.dtype.names or ())


def table_of(rows: np.ndarray, steps_per_epoch: int) -> pd.DataFrame:
    """The rows of a measure as a table.

    Args:
        rows: a structured array, (rows,), a number per column. Rows without the column ``epoch``
            are those of all steps in order, and the table gets the columns ``step``, from 0, and
            ``epoch``, from 1.
        steps_per_epoch: updates of the weights in an epoch.
    """
    table = pd.DataFrame(np.array(rows))
    if EPOCH not in table:
        step = np.arange(len(table), dtype=np.int32)
        table.insert(0, EPOCH, step // steps_per_epoch + 1)
        table.insert(0, "step", step)
    return table


def read_metrics(folder: Path, epochs: int) -> pd.DataFrame:
    """Read a measure with a row per epoch, up to a number of epochs.

    Args:
        folder: the measure's folder.
        epochs: the last epoch to read.
    """
    table = pd.DataFrame(np.load(folder / ROWS, allow_pickle=False))
    return table[table["epoch"] <= epochs].reset_index(drop=True)
