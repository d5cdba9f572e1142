"""perigee.analysis.run_metrics on small files written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from perigee.analysis.run_metrics import tabulate
from support.synthetic_runs import write_run


def metrics(losses: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(len(losses)), "train_loss": losses})


def test_runs_are_stacked_with_what_tells_them_apart(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / "first",
            metrics([2.0, 1.5]),
            {"optimiser.learning_rate": 0.1, "seed": 0},
        ),
        write_run(
            tmp_path / "second",
            metrics([2.5, float("nan"), float("inf")]),
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
    pd.testing.assert_frame_equal(tabulate(runs, further=[]), expected)
    # The position in the sweep numbers the runs, whatever their files are called.
    swapped = tabulate(runs[::-1], further=[])
    assert swapped["run"].tolist() == [0, 0, 0, 1, 1]
    assert swapped["seed"].tolist() == [7, 7, 7, 0, 0]


def test_runs_that_differ_in_nothing_are_numbered(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", metrics([1.0]))
    found = tabulate([run, run], further=[])
    assert list(found.columns) == ["run", "stopped", "fork_epoch", "epoch", "train_loss"]
    assert found["run"].tolist() == [0, 1]


def test_a_learning_rate_beyond_64_bits_can_be_written(tmp_path: Path) -> None:
    """1e30 is a whole number in a spec's canonical form."""
    swept = {"optimiser.learning_rate": 10**30, "seed": 3}
    table = tabulate([write_run(tmp_path / "run", metrics([1.0]), swept)], further=[])
    table.to_parquet(tmp_path / "table.parquet")
    assert table["optimiser.learning_rate"].tolist() == [1e30]
    assert table["seed"].dtype == "int64"


def test_rows_end_with_the_run(tmp_path: Path) -> None:
    """The files may be those of a longer version."""
    run = write_run(tmp_path / "run", metrics([4.0, 3.0, 2.0, 1.0]))
    found = tabulate([replace(run, epochs=2)], further=[])
    assert found["train_loss"].tolist() == [4.0, 3.0, 2.0]


def test_further_measures_stand_beside_the_metrics(tmp_path: Path) -> None:
    """Epoch by epoch, in whichever order a measure has its rows."""
    slow = pd.DataFrame({"epoch": [0, 1, 2], "trace": [5.0, 6.0, 7.0]})
    norms = pd.DataFrame({"epoch": [2, 1, 0], "norm": [0.2, 0.1, 0.0]})
    further = {"traces": slow, "norms": norms, "unread": slow}
    run = write_run(tmp_path / "run", metrics([3.0, 2.0, 1.0]), {"seed": 4}, further=further)
    found = tabulate([run], further=["norms", "traces"])
    expected = ["run", "seed", "stopped", "fork_epoch", "epoch", "train_loss", "norm", "trace"]
    assert list(found.columns) == expected
    assert found["norm"].tolist() == [0.0, 0.1, 0.2]
    assert found["trace"].tolist() == [5.0, 6.0, 7.0]
