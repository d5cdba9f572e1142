"""perigee.analysis.run_metrics on small files written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.run_metrics import tabulate
from support.written_runs import write_measure, written_run


def run_with(folder: Path, losses: list[float], swept: Mapping[str, Any], **more: Any) -> RunInput:
    metrics = {"epoch": np.arange(len(losses)), "train_loss": losses}
    return written_run({"metrics": write_measure(folder, metrics)}, len(losses) - 1, swept, **more)


def test_runs_are_stacked_with_what_tells_them_apart(tmp_path: Path) -> None:
    runs = [
        run_with(tmp_path / "first", [2.0, 1.5], {"optimiser.learning_rate": 0.1, "seed": 0}),
        run_with(
            tmp_path / "second",
            [2.5, float("nan"), float("inf")],
            {"optimiser.learning_rate": 3.0, "seed": 7},
            stopped=True,
            fork_epoch=150,
        ),
    ]
    expected = pd.DataFrame(
        {
            "run": [0, 0, 1, 1, 1],
            "optimiser.learning_rate": [0.1, 0.1, 3.0, 3.0, 3.0],
            "seed": [0, 0, 7, 7, 7],
            "stopped": [False, False, True, True, True],
            "fork_epoch": [0, 0, 150, 150, 150],
            "epoch": [0, 1, 0, 1, 2],
            "train_loss": [2.0, 1.5, 2.5, float("nan"), float("inf")],
        }
    )
    pd.testing.assert_frame_equal(tabulate(runs, further=()), expected)
    # The position in the sweep numbers the runs, whatever their files are called.
    swapped = tabulate(runs[::-1], further=())
    assert swapped["run"].tolist() == [0, 0, 0, 1, 1]
    assert swapped["seed"].tolist() == [7, 7, 7, 0, 0]


def test_runs_that_differ_in_nothing_are_numbered(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", [1.0], {})
    found = tabulate([run, run], further=())
    assert list(found.columns) == ["run", "stopped", "fork_epoch", "epoch", "train_loss"]
    assert found["run"].tolist() == [0, 1]


def test_a_learning_rate_beyond_64_bits_can_be_written(tmp_path: Path) -> None:
    """1e30 is a whole number in a spec's canonical form."""
    run = run_with(tmp_path / "run", [1.0], {"optimiser.learning_rate": 10**30, "seed": 3})
    table = tabulate([run], further=())
    table.to_parquet(tmp_path / "table.parquet")
    assert table["optimiser.learning_rate"].tolist() == [1e30]
    assert table["seed"].dtype == "int64"


def test_further_measures_stand_beside_the_metrics_up_to_the_epochs_looked_at(
    tmp_path: Path,
) -> None:
    epochs = np.arange(4)
    measures = {
        "metrics": write_measure(tmp_path / "a", {"epoch": epochs, "train_loss": 1.0 * epochs}),
        "full_gradient_norm": write_measure(
            tmp_path / "b", {"epoch": epochs[::-1], "full_gradient_norm": 9.0 - epochs[::-1]}
        ),
    }
    table = tabulate([written_run(measures, 2, {})], further=["full_gradient_norm"])
    assert table["train_loss"].tolist() == [0, 1, 2]
    assert table["full_gradient_norm"].tolist() == [9, 8, 7]
