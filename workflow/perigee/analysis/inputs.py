"""What an analysis is given of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 2**63 - 1
"""Whole number that a column holds."""


@dataclass(frozen=True)
class RunInput:
    """A finished run.

    Attributes:
        folder: holds metrics.parquet and steps.parquet, and where the analysis reads checkpoints
            trajectory.npy and trajectory.json.
        swept: the values that tell the run from the table's others, by dotted key.
        stopped: whether training ended early because the loss stopped being finite.
        fork_epoch: of its parent, where the run starts; 0 for a run without a parent.
        predictions: folder of the checkpoints' predictions, where the analysis reads checkpoints.
    """

    folder: Path
    swept: Mapping[str, Any]
    stopped: bool
    fork_epoch: int = 0
    predictions: Path | None = None

    def labels(self) -> dict[str, Any]:
        """The swept values as a table can hold them: whole numbers beyond 64 bits become floats."""
        return {
            key: float(value) if isinstance(value, int) and abs(value) > LARGEST else value
            for key, value in self.swept.items()
        }
