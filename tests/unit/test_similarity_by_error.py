"""perigee.analysis.similarity where the train error identifies the phases (smoothed labels)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perigee.analysis.inputs import RunInput
from perigee.analysis.periods import FLOORS, SPIKE
from perigee.analysis.similarity import CONSISTENT, FIRST_HALF, tabulate
from support.signals import sawtooth
from support.synthetic_runs import read_measure, with_measure, write_kept_run


def runs_with(folder: Path, **columns: object) -> list[RunInput]:
    """Runs with periods of 60, 80 and 70 epochs, and other metrics."""
    signal = sawtooth([60, 80, 70], 40, 2.0, 0.0, 0)
    runs = [write_kept_run(folder, signal, 3, seed) for seed in (0, 1)]
    return [
        with_measure(run, "metrics", read_measure(run, "metrics").assign(**columns)) for run in runs
    ]


def test_the_error_tells_the_phases_that_the_loss_cannot(tmp_path: Path) -> None:
    plain = tabulate(runs_with(tmp_path / "plain"), near_zero="train_loss")
    # A loss of at least 1, and no error wherever the signal's loss is low.
    smoothed = runs_with(
        tmp_path / "smoothed",
        train_loss=lambda metrics: 1 + metrics["train_loss"],
        train_error=lambda metrics: np.where(metrics["train_loss"] < 1.1, 0.0, 0.5),
    )
    by_loss = tabulate(smoothed, near_zero="train_loss")
    assert set(by_loss["anchor_rule"]) == {FIRST_HALF}
    assert set(by_loss["phase"]) == {"start"}
    by_error = tabulate(smoothed, near_zero="train_error")
    assert set(by_error["anchor_rule"]) == {CONSISTENT}
    # The error begins to rise a little later than the loss, so that its phases B end later.
    both = by_error.merge(plain, on=["run", "epoch"], suffixes=("", "_by_loss"))
    assert len(both) >= len(plain) - 2
    assert (both["anchor_epoch"] - both["anchor_epoch_by_loss"]).abs().max() <= 3
    for column in ("phase", "period", "minimum"):
        assert (both[column] == both[f"{column}_by_loss"]).mean() > 0.9, column
    assert by_error["period"].max() == 2


@pytest.mark.parametrize(("factor", "rule"), [(1.1, CONSISTENT), (0.9, FIRST_HALF)])
def test_the_error_must_rise_to_a_multiple_of_its_floor(
    tmp_path: Path, factor: float, rule: str
) -> None:
    high = factor * SPIKE * FLOORS["train_error"]
    runs = runs_with(
        tmp_path / "runs",
        train_error=lambda metrics: np.where(metrics["train_loss"] < 0.1, 0.0, high),
    )
    assert set(tabulate(runs, near_zero="train_error")["anchor_rule"]) == {rule}
