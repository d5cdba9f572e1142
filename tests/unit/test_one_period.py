"""perigee.analysis.one_period and dynamics.jumps, on tables written by hand and on a real step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.analysis.courses import course_of_metrics
from perigee.analysis.one_period import choose_period, tabulate
from perigee.analysis.periods import running_median
from perigee.dynamics.jumps import cosine_distance_bound
from perigee.dynamics.sphere import cosine_distance
from perigee.plotting.phases import PHASE_COLOURS
from support.signals import sawtooth
from support.synthetic_runs import read_measure, with_measure, write_stepping_run


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    runs = [
        write_stepping_run(tmp_path / "a", [90, 110, 70]),
        write_stepping_run(tmp_path / "b", []),
    ]
    return tabulate(runs, smoothing_epochs=1)


def test_the_longest_complete_period_is_shown_with_its_phases(table: pd.DataFrame) -> None:
    run = table[table["run"] == 0]
    phases = run.groupby("phase", sort=False)["step"].agg(["min", "max"])
    assert list(phases.index) == ["before", "A", "B", "C", "after"]
    # By the construction of the signal: the tooth of 110 steps stands between the destabilisations
    # whose losses start to rise at 89 and 207, peak 5 steps later, and whose norms peak 3 after.
    start, end = 89 + 5, 89 + 8 + 110 + 5
    assert abs(phases.loc["A", "min"] - start) <= 1
    assert abs(phases.loc["B", "min"] - (89 + 8)) <= 1
    assert abs(phases.loc["C", "max"] + 1 - end) <= 1
    assert run["step"].diff().iloc[1:].eq(1).all()


def test_a_run_without_periods_is_shown_whole(table: pd.DataFrame) -> None:
    run = table[table["run"] == 1]
    assert set(run["phase"]) == {"none"}
    assert list(run["step"]) == list(range(30))


def test_the_columns_are_what_they_are_called(table: pd.DataFrame) -> None:
    assert (table["seed"] == 7).all()
    # The row of metrics of epoch 20 tells the rate of epoch 21, whose first step is 100.
    assert table["learning_rate"].tolist() == np.where(table["step"] < 100, 0.2, 0.1).tolist()
    assert table["train_error"].tolist() == (table["epoch"] / 100).tolist()
    rho = table["weight_norm"]
    np.testing.assert_allclose(table["effective_learning_rate"], table["learning_rate"] / rho**2)
    np.testing.assert_allclose(
        table["effective_gradient_norm"], (3 + np.sin(table["step"])) * rho, rtol=1e-12
    )
    assert (table["lower_bound"] < table["upper_bound"]).all()
    assert table["phase"].isin(list(PHASE_COLOURS)).all()


def test_nothing_of_the_destabilisation_leaks_into_phase_b(tmp_path: Path) -> None:
    """Changing the steps of phase C alone leaves every column of phase B as it was."""
    run = write_stepping_run(tmp_path / "run", [90, 110, 70])
    before = tabulate([run], smoothing_epochs=2)
    steps = read_measure(run, "steps")
    in_c = steps.index.isin(before.loc[before["phase"] == "C", "step"])
    assert in_c.any()
    steps.loc[in_c, ["gradient_norm", "cosine_distance"]] *= 1e3
    after = tabulate([with_measure(run, "steps", steps)], smoothing_epochs=2)
    pd.testing.assert_frame_equal(after[after["phase"] == "B"], before[before["phase"] == "B"])
    assert not after[after["phase"] == "C"].equals(before[before["phase"] == "C"])


def test_no_period_is_chosen_where_there_is_none() -> None:
    signal = sawtooth([100], 40, 2.0, 0.0, 0)
    metrics = pd.DataFrame({"train_loss": signal.loss, "weight_norm": signal.norm})
    course = course_of_metrics(metrics.assign(epoch=range(len(metrics))))
    assert len(course.found) == 1
    assert choose_period(course) is None


@given(st.floats(1e-4, 1e-2), st.floats(0.1, 10), st.floats(0.5, 20), st.integers(0, 50))
def test_the_bound_is_the_cosine_distance_of_a_small_tangential_step(
    effective_step: float, gradient_norm: float, norm: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(20)
    weights *= norm / np.linalg.norm(weights)
    gradient = rng.standard_normal(20)
    gradient -= gradient.dot(weights) / weights.dot(weights) * weights
    gradient *= gradient_norm / np.linalg.norm(gradient)
    rate = effective_step * norm / gradient_norm
    measured = cosine_distance(weights, weights - rate * gradient)
    bound = cosine_distance_bound(rate, gradient_norm * norm, norm)
    assert measured == pytest.approx(bound, rel=2 * effective_step**2 + 1e-9)


def test_the_running_median_leaves_a_jump_in_its_place() -> None:
    jump = np.array([1.0] * 10 + [5.0] * 10)
    assert running_median(jump, 5).tolist() == jump.tolist()
    spike = np.array([1.0, 1, 1, 9, 1, 1, 1])
    assert running_median(spike, 3).tolist() == [1.0] * 7
