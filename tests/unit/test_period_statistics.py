"""perigee.analysis.period_statistics on runs whose periods are known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perigee.analysis.period_statistics import tabulate
from perigee.analysis.periods import HIGH_LOSS, LOW_ERROR, LOW_LOSS, count_loss_spikes
from perigee.configuration.studies import BY_EITHER
from support.synthetic_runs import write_run
from support.synthetic_tables import NORM_ONSET, Periodic, Stuck


def test_a_row_a_run_with_what_tells_it_apart(tmp_path: Path) -> None:
    periodic = Periodic([2.0, 1.0, 1.0], length=60, test_errors=(0.2, 0.1, 0.06, 0.05)).rows(0)
    runs = [
        write_run(tmp_path / "a", periodic, {"label": "wide", "seed": 0}),
        write_run(tmp_path / "b", Stuck().rows(0), {"label": "narrow", "seed": 1}, stopped=True),
    ]
    table = tabulate(runs, near_zero="train_loss")
    assert table["run"].tolist() == [0, 1]
    assert table["label"].tolist() == ["wide", "narrow"]
    assert table["seed"].tolist() == [0, 1]
    assert table["stopped"].tolist() == [False, True]
    first, stuck = (row for _, row in table.iterrows())
    # The signal's destabilisations stand where its norm is lowest around each chosen level.
    norm = periodic["weight_norm"].to_numpy()
    assert first["destabilisations"] == 3
    onset = int(first["first_destabilisation"])
    assert norm[onset] == pytest.approx(2.0, rel=0.05)
    assert norm[onset] == norm[max(0, onset - 30) : onset + 3].min()
    # The first one happens at twice the norm of the others: a warm-up stage.
    assert norm[int(first["warm_up_epochs"])] == pytest.approx(1.0, rel=0.05)
    assert first["destabilisation_norm"] == pytest.approx(1.0, rel=0.05)
    assert first["lowest_test_error"] == pytest.approx(0.05)
    assert first["loss_spikes"] == 3
    assert first["epochs"] == len(periodic) - 1
    # Periods are all built alike: as long as the distance of the warm-up's end and the one before.
    built = first["warm_up_epochs"] - first["first_destabilisation"]
    assert first["period_epochs"] == pytest.approx(built, abs=NORM_ONSET + 3)
    assert stuck["destabilisations"] == stuck["loss_spikes"] == 0
    assert stuck[["first_destabilisation", "warm_up_epochs", "period_epochs"]].isna().all()
    assert stuck["destabilisation_norm"] != stuck["destabilisation_norm"]
    assert stuck["late_train_loss"] == pytest.approx(1.5, rel=0.2)


LOW, MIDDLE, HIGH = LOW_LOSS / 2, (LOW_LOSS + HIGH_LOSS) / 2, HIGH_LOSS * 2


@pytest.mark.parametrize(
    ("loss", "spikes"),
    [
        pytest.param([HIGH] * 5 + [LOW] * 5, 0, id="learns and stays there"),
        pytest.param([HIGH] * 10, 0, id="stuck"),
        pytest.param([HIGH, LOW, HIGH, HIGH, LOW], 1, id="one, two epochs long"),
        pytest.param([HIGH, LOW, HIGH, LOW, HIGH], 2, id="two"),
        pytest.param([HIGH, LOW, MIDDLE, LOW, MIDDLE], 0, id="ripples"),
        pytest.param([LOW, HIGH, MIDDLE, HIGH, LOW], 1, id="not near zero in between"),
        pytest.param([LOW, np.nan, np.nan], 1, id="not finite"),
        pytest.param([LOW_LOSS, HIGH_LOSS], 1, id="the borders belong to it"),
        pytest.param([], 0, id="nothing"),
    ],
)
def test_spikes_of_the_loss(loss: list[float], spikes: int) -> None:
    assert count_loss_spikes(loss) == spikes


def test_where_the_loss_stays_high_the_error_tells_the_periods(tmp_path: Path) -> None:
    signal = Periodic([2.0, 1.0, 1.0], length=60).rows(0)
    # As with smoothed labels: a loss of at least 1, and no error wherever the signal's loss is low.
    smoothed = signal.assign(
        train_loss=1 + signal["train_loss"],
        train_error=np.where(signal["train_loss"] < HIGH_LOSS, 0.0, 0.5),
    )
    run = write_run(tmp_path / "a", smoothed)
    plain = write_run(tmp_path / "b", signal)
    (by_loss,) = tabulate([run], near_zero="train_loss").to_dict("records")
    (by_error,) = tabulate([run], near_zero="train_error").to_dict("records")
    (expected,) = tabulate([plain], near_zero="train_loss").to_dict("records")
    assert by_loss["destabilisations"] == 0
    for name in ("destabilisations", "first_destabilisation", "warm_up_epochs"):
        assert by_error[name] == expected[name], name
    assert by_error["period_epochs"] == pytest.approx(expected["period_epochs"], abs=5)
    assert by_error["destabilisation_norm"] == pytest.approx(1.0, rel=0.1)
    assert set(BY_EITHER) == {name for name in by_error if by_error[name] != by_loss[name]} - {
        "loss_spikes"
    }
    # A loss that is never low cannot spike: that is nothing measured, and no count of 0.
    assert np.isnan(by_error["loss_spikes"])
    assert expected["loss_spikes"] == 3


def test_a_run_with_a_high_error_has_no_periods(tmp_path: Path) -> None:
    wrong = Periodic([1.0] * 3).rows(0).assign(train_error=2 * LOW_ERROR)
    run = write_run(tmp_path / "a", wrong)
    assert tabulate([run], near_zero="train_error")["destabilisations"].tolist() == [0]
    assert tabulate([run], near_zero="train_loss")["destabilisations"].tolist() == [3]
