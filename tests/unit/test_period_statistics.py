"""perigee.analysis.period_statistics on runs whose periods are known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.analysis.inputs import RunInput
from perigee.analysis.period_statistics import statistics_of, tabulate, variation
from perigee.configuration.studies import BY_EITHER
from support.signals import RISE_TIME, Planted
from support.synthetic_runs import write_run
from support.synthetic_tables import NORM_ONSET, Periodic, Stuck


def by_epochs(runs: list[RunInput], near_zero: str = "train_loss") -> pd.DataFrame:
    """The table with a value per epoch."""
    return tabulate(runs, near_zero=near_zero, resolution="epoch")


def test_a_row_a_run_with_what_tells_it_apart(tmp_path: Path) -> None:
    periodic = Periodic([2.0, 1.0, 1.0], length=60, test_errors=(0.2, 0.1, 0.06, 0.05)).rows(0)
    runs = [
        write_run(tmp_path / "a", periodic, {"label": "wide", "seed": 0}),
        write_run(tmp_path / "b", Stuck().rows(0), {"label": "narrow", "seed": 1}, stopped=True),
    ]
    table = by_epochs(runs)
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
    # The first one happens at twice the norm of the others: a warm-up stage, until rho first is at
    # most 1.25 times theirs.
    assert first["warm_up_destabilisations"] == 1
    warm_up = int(first["warm_up_epochs"])
    assert warm_up > onset
    assert (
        norm[warm_up] <= 1.25 * first["destabilisation_norm"] * 1.02 < norm[:warm_up].min() * 1.05
    )
    assert first["destabilisation_norm"] == pytest.approx(1.0, rel=0.05)
    assert first["lowest_test_error"] == pytest.approx(0.05)
    assert first["loss_spikes"] == 3
    assert first["epochs"] == len(periodic) - 1
    # Periods are all built alike: a phase B and the eight samples of a destabilisation.
    for column in ("period_epochs", "median_period_epochs"):
        assert first[column] == pytest.approx(60 + RISE_TIME, abs=NORM_ONSET + 1)
    assert first["phase_b_epochs"] == pytest.approx(60, abs=3)
    assert first["phase_a_epochs"] == pytest.approx(3, abs=1)
    assert np.isnan(first["interval_variation"]), "two destabilisations have one interval"
    assert first["first_norm_peak"] == 0
    # Between the two last stretches' lowest errors, of which noise is up to half.
    assert 0.05 < first["late_phase_b_test_error"] < 0.09
    assert stuck["destabilisations"] == stuck["loss_spikes"] == 0
    assert stuck[["first_destabilisation", "warm_up_epochs", "period_epochs"]].isna().all()
    assert stuck["destabilisation_norm"] != stuck["destabilisation_norm"]
    assert stuck["late_train_loss"] == pytest.approx(1.5, rel=0.2)


def test_where_the_loss_stays_high_the_error_tells_the_periods(tmp_path: Path) -> None:
    signal = Periodic([2.0, 1.0, 1.0], length=60).rows(0)
    # As with smoothed labels: a loss of at least 1, and no error wherever the signal's loss is low.
    smoothed = signal.assign(
        train_loss=1 + signal["train_loss"],
        train_error=np.where(signal["train_loss"] < 0.1, 0.0, 0.5),
    )
    run = write_run(tmp_path / "a", smoothed)
    plain = write_run(tmp_path / "b", signal)
    (by_loss,) = by_epochs([run]).to_dict("records")
    (by_error,) = by_epochs([run], "train_error").to_dict("records")
    (expected,) = by_epochs([plain]).to_dict("records")
    assert by_loss["destabilisations"] == 0
    same = ("destabilisations", "warm_up_destabilisations", "first_destabilisation")
    for name in (*same, "warm_up_epochs"):
        assert by_error[name] == expected[name], name
    assert by_error["period_epochs"] == pytest.approx(expected["period_epochs"], abs=5)
    assert by_error["destabilisation_norm"] == pytest.approx(1.0, rel=0.1)
    # What goes by the column is told to be so; with three destabilisations some are not measured.
    differing = {
        name
        for name in by_error
        if by_error[name] != by_loss[name] and not np.isnan(by_error[name])
    }
    unmeasured = {name for name in BY_EITHER if np.isnan(by_error[name])}
    assert differing == set(BY_EITHER) - unmeasured
    assert unmeasured == {
        "interval_variation",
        "period_decay_units",
        "phase_b_effective_gradient_norm",
    }
    # A loss that is never low cannot spike: that is nothing measured, and no count of 0.
    assert np.isnan(by_error["loss_spikes"])
    assert expected["loss_spikes"] == 3


def metrics_of(signal: Planted, **columns: object) -> pd.DataFrame:
    """The metrics of a planted signal, with a learning rate of 0.5."""
    epochs = np.arange(int(signal.end) + 1)
    loss, norm = signal.at(epochs)
    return pd.DataFrame(
        {
            "epoch": epochs,
            "train_loss": loss,
            "train_error": 0.0,
            "test_error": 0.1,
            "weight_norm": norm,
            "learning_rate": 0.5,
            "effective_learning_rate": 0.5 / norm**2,
            "effective_gradient_norm": norm,
        }
    ).assign(**columns)


@given(st.lists(st.integers(10, 40), min_size=6, max_size=9), st.integers(2, 30))
def test_intervals_are_those_of_the_planted_onsets(falls: list[int], steps: int) -> None:
    signal = Planted(tuple(map(float, falls)))
    metrics = metrics_of(signal)
    found = statistics_of(metrics, decay_per_rate=0.01 * steps)
    intervals = np.array(falls[1:-1]) + 3
    assert found["destabilisations"] == len(falls) - 1
    spread = np.std(intervals) * np.sqrt(len(intervals) / (len(intervals) - 1))
    # An onset falls between two epochs.
    assert found["interval_variation"] == pytest.approx(spread / intervals.mean(), abs=0.06)
    assert found["median_period_epochs"] == pytest.approx(np.median(intervals), abs=1)
    expected = found["median_period_epochs"] * 0.5 * 0.01 * steps
    assert found["period_decay_units"] == pytest.approx(expected)
    assert found["onset_norm_spread"] == pytest.approx(1, abs=0.15)
    assert np.isnan(found["warm_up_epochs"]), "all are consistent"


def test_random_times_vary_as_much_as_they_last_and_a_clock_not_at_all() -> None:
    rng = np.random.default_rng(0)
    assert variation(rng.exponential(7, 20_000)) == pytest.approx(1, abs=0.03)
    assert variation([7.0, 7.0, 7.0]) == 0
    assert np.isnan(variation([7.0]))


def test_phase_b_is_told_apart_from_destabilisations() -> None:
    """A test error that is large everywhere but late in phases B of the last half."""
    signal = Planted((30.0, 30.0, 30.0, 30.0, 30.0))
    epochs = np.arange(int(signal.end) + 1)
    # Each phase B and its destabilisation take 33 epochs; the last third begins after 20.
    late = (epochs % 33 >= 20) & (epochs % 33 < 30) & (epochs >= signal.end / 2)
    metrics = metrics_of(signal, test_error=np.where(late, 0.01, 0.5))
    found = statistics_of(metrics)
    assert found["late_phase_b_test_error"] == 0.01
    metrics = metrics.assign(
        effective_gradient_norm=np.where(epochs % 33 < 30, 2.0, 90.0),
        effective_learning_rate=np.linspace(1, 3, len(epochs)),
    )
    found = statistics_of(metrics)
    assert found["phase_b_effective_gradient_norm"] == 2
    assert found["late_effective_gradient_norm"] == pytest.approx(2 + 88 / 11, rel=0.3)
    assert found["final_effective_learning_rate"] == 3
    steady = statistics_of(metrics_of(Planted((90.0,)), test_error=0.2))
    assert steady["late_phase_b_test_error"] == 0.2
    assert np.isnan(steady["phase_b_train_loss"])


def test_the_rate_reached_is_that_before_the_norm_rises_again() -> None:
    """With rate 0.5, at the norms 2 and 1; or at the end, where a run without any has 1."""
    found = statistics_of(metrics_of(Planted((30.0, 30.0, 30.0), norms=(2.0, 1.0))))
    assert found["reached_effective_learning_rate"] == pytest.approx(0.5 / 4, rel=0.1)
    steady = statistics_of(metrics_of(Planted((90.0,))))
    assert steady["reached_effective_learning_rate"] == pytest.approx(0.5)
    assert steady["final_effective_learning_rate"] == steady["reached_effective_learning_rate"]


def test_steps_and_epochs_count_the_same(tmp_path: Path) -> None:
    signal = Planted((20.0, 25.0, 15.0))
    times = np.arange(int(signal.end) * 12) / 12
    loss, norm = signal.at(times)
    steps = pd.DataFrame(
        {"loss": loss, "weight_norm": norm, "gradient_norm": 1.0, "cosine_distance": 1e-4}
    )
    metrics = metrics_of(signal)
    run = write_run(tmp_path / "run", metrics, steps=steps, steps_per_epoch=12)
    (by_epoch,) = by_epochs([run]).to_dict("records")
    (by_step,) = tabulate([run], near_zero="train_loss", resolution="step").to_dict("records")
    assert by_epoch["destabilisations"] == by_step["destabilisations"] == 2
    assert by_step["first_destabilisation"] == pytest.approx(signal.norm_onsets[0], abs=1 / 12)
    for name in ("first_destabilisation", "period_epochs", "phase_b_epochs", "phase_a_epochs"):
        assert by_epoch[name] == pytest.approx(by_step[name], abs=1), name
