"""perigee.analysis.run_metrics on small files written by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from perigee.analysis.inputs import RunInput
from perigee.analysis.run_metrics import tabulate


def write_run(folder: Path, losses: list[float]) -> Path:
    folder.mkdir()
    metrics = pd.DataFrame({"epoch": range(len(losses)), "train_loss": losses})
    metrics.to_parquet(folder / "metrics.parquet", index=False)
    return folder


def test_runs_are_stacked_with_what_tells_them_apart(tmp_path: Path) -> None:
    runs = [
        RunInput(
            write_run(tmp_path / "first", [2.0, 1.5]),
            {"optimiser.learning_rate": 0.1, "seed": 0},
            stopped=False,
        ),
        RunInput(
            write_run(tmp_path / "second", [2.5, float("nan"), float("inf")]),
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
    pd.testing.assert_frame_equal(tabulate(runs), expected)
    # The position in the sweep numbers the runs, whatever their files are called.
    swapped = tabulate(runs[::-1])
    assert swapped["run"].tolist() == [0, 0, 0, 1, 1]
    assert swapped["seed"].tolist() == [7, 7, 7, 0, 0]


def test_runs_that_differ_in_nothing_are_numbered(tmp_path: Path) -> None:
    run = RunInput(write_run(tmp_path / "run", [1.0]), {}, stopped=False)
    found = tabulate([run, run])
    assert list(found.columns) == ["run", "stopped", "fork_epoch", "epoch", "train_loss"]
    assert found["run"].tolist() == [0, 1]


def test_a_learning_rate_beyond_64_bits_can_be_written(tmp_path: Path) -> None:
    """1e30 is a whole number in a spec's canonical form."""
    run = RunInput(
        write_run(tmp_path / "run", [1.0]), {"optimiser.learning_rate": 10**30, "seed": 3}, False
    )
    table = tabulate([run])
    table.to_parquet(tmp_path / "table.parquet")
    assert table["optimiser.learning_rate"].tolist() == [1e30]
    assert table["seed"].dtype == "int64"
