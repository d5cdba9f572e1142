"""What a run writes down: a row an epoch, a row a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

METRICS_COLUMNS = (
    "epoch",
    "train_loss",
    "train_error",
    "gradient_norm",
    "test_loss",
    "test_error",
    "weight_norm",
    "learning_rate",
    "effective_learning_rate",
    "effective_gradient_norm",
    "effective_step_size",
)
"""Of metrics.parquet. Row ``epoch`` is measured at the fixed weights after that many epochs."""

STEP_QUANTITIES = ("loss", "gradient_norm", "weight_norm", "cosine_distance")
"""Of step t, at the weights x_t before it, but the cosine distance is that of x_t and x_{t+1}.

Loss and gradient are those of the images that the step is made with: a mini-batch, or all of them.
"""


@dataclass
class RunRecord:
    """The tables of a run, growing epoch by epoch.

    Attributes:
        metrics: a row an epoch, keys `METRICS_COLUMNS`; the first is the initialisation, epoch 0.
        steps: an array an epoch, (steps of the epoch, `STEP_QUANTITIES`), float.
        stopped_at_step: the first step whose loss was not finite, counted from 0; training ends
            with the epoch it belongs to. If the loss is found not finite by the metrics after an
            epoch, it is the step that would have come next. None for a run without one.
        unfinished: rows of the epoch in progress, (steps taken, `STEP_QUANTITIES`); None between
            epochs.
    """

    metrics: list[dict[str, float]] = field(default_factory=list)
    steps: list[np.ndarray] = field(default_factory=list)
    stopped_at_step: int | None = None
    unfinished: np.ndarray | None = None

    @property
    def epochs(self) -> int:
        """Epochs trained so far."""
        return len(self.steps)

    @property
    def steps_done(self) -> int:
        """Steps trained so far."""
        return sum(map(len, self.steps))

    def finish_epoch(self, metrics: dict[str, float]) -> None:
        """Add the unfinished epoch, all steps of which have been taken.

        Args:
            metrics: at the weights it ended with.
        """
        steps, self.unfinished = self.unfinished, None
        assert steps is not None
        finite = np.isfinite(steps[:, 0])
        if not finite.all():
            first = int(np.argmin(finite))
            self.stopped_at_step = self.steps_done + first
            steps = steps[: first + 1]
        self.steps.append(steps)
        self.metrics.append(metrics)
        if self.stopped_at_step is None and not math.isfinite(metrics["train_loss"]):
            self.stopped_at_step = self.steps_done

    def metrics_table(self) -> pd.DataFrame:
        """Columns `METRICS_COLUMNS`."""
        return pd.DataFrame(self.metrics, columns=list(METRICS_COLUMNS)).astype({"epoch": "int32"})

    def steps_table(self) -> pd.DataFrame:
        """Columns step (from 0), epoch (from 1) and `STEP_QUANTITIES` in float32."""
        rows = np.concatenate(self.steps) if self.steps else np.empty((0, len(STEP_QUANTITIES)))
        table = pd.DataFrame(rows.astype(np.float32), columns=list(STEP_QUANTITIES))
        counts = [len(epoch_steps) for epoch_steps in self.steps]
        table.insert(0, "epoch", np.repeat(np.arange(1, len(counts) + 1, dtype=np.int32), counts))
        table.insert(0, "step", np.arange(len(table), dtype=np.int32))
        return table

    @classmethod
    def from_tables(
        cls, metrics: pd.DataFrame, steps: pd.DataFrame, stopped_at_step: int | None
    ) -> RunRecord:
        """The record that wrote these tables, to be continued."""
        return cls(
            metrics=[{str(k): v for k, v in row.items()} for row in metrics.to_dict("records")],
            steps=[
                rows[list(STEP_QUANTITIES)].to_numpy()
                for _, rows in steps.groupby("epoch", sort=True)
            ],
            stopped_at_step=stopped_at_step,
        )


def first_epochs(
    metrics: pd.DataFrame, steps: pd.DataFrame, epochs: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables that the same run of fewer epochs would have written."""
    shorter_metrics = metrics[metrics["epoch"] <= epochs].reset_index(drop=True)
    shorter_steps = steps[steps["epoch"] <= epochs].reset_index(drop=True)
    return shorter_metrics, shorter_steps
