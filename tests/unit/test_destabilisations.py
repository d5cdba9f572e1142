"""perigee.analysis.destabilisations, complete_periods, courses and dials, on planted events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.analysis import complete_periods, destabilisations, dials, one_period
from perigee.analysis.complete_periods import late_growth
from perigee.analysis.courses import course_of_metrics, course_of_steps, smoothing_window
from perigee.analysis.destabilisations import COLUMNS, events_of, signed_area
from perigee.analysis.inputs import RunInput
from perigee.blocks.analyses import Destabilisations, Dials, PeriodStatistics
from perigee.blocks.measures import Steps
from perigee.configuration.validation import validated_block
from perigee.dynamics.norm import unprojected_log_norm
from perigee.dynamics.sphere import cosine_distance
from perigee.errors import PerigeeError
from support.signals import Planted
from support.synthetic_runs import read_measure, with_measure, write_run, write_stepping_run

PER_EPOCH = 10
FALLS = (20.0, 30.0, 24.0, 20.0)
SGD = {"name": "sgd", "learning_rate": 0.5, "weight_decay": 0.02, "momentum": 0.0}


def run_of(
    folder: Path, signal: Planted, *, optimiser: dict[str, Any] = SGD, **columns: Any
) -> RunInput:
    """A run with a planted signal; its steps have other columns as functions of time."""
    epochs = np.arange(int(signal.end) + 1)
    times = np.arange(epochs[-1] * PER_EPOCH) / PER_EPOCH
    loss, norm = signal.at(epochs)
    metrics = pd.DataFrame(
        {
            "epoch": epochs,
            "learning_rate": 0.5,
            "train_loss": loss,
            "train_error": np.where(loss > 0.012, 0.4, 0.0),
            "test_error": np.linspace(0.3, 0.1, len(epochs)),
            "weight_norm": norm,
            "effective_learning_rate": 0.5 / norm**2,
            "effective_gradient_norm": 2.0,
        }
    )
    loss, norm = signal.at(times)
    steps = pd.DataFrame(
        {"loss": loss, "weight_norm": norm, "gradient_norm": 2 / norm, "cosine_distance": 1e-4}
    )
    steps = steps.assign(**{name: value(times) for name, value in columns.items()})
    return write_run(
        folder,
        metrics,
        {"seed": 4},
        steps=steps,
        steps_per_epoch=PER_EPOCH,
        optimiser=optimiser,
    )


@pytest.fixture
def signal() -> Planted:
    return Planted(FALLS)


def table_of(run: RunInput, resolution: str) -> pd.DataFrame:
    return destabilisations.tabulate([run], near_zero="train_loss", resolution=resolution)


@pytest.mark.parametrize(("resolution", "tolerance"), [("epoch", 1.0), ("step", 0.3)])
def test_a_row_per_destabilisation_with_its_times(
    tmp_path: Path, signal: Planted, resolution: str, tolerance: float
) -> None:
    table = table_of(run_of(tmp_path / "run", signal), resolution)
    assert list(table.columns) == ["run", "seed", *COLUMNS]
    assert table["number"].tolist() == [1, 2, 3]
    assert table["consistent"].all()
    onsets = np.array(signal.onsets)
    expected = {
        "loss_onset_epoch": onsets,
        "norm_onset_epoch": onsets + signal.norm_rises_from,
        "loss_peak_epoch": onsets + signal.loss_rises,
        "norm_peak_epoch": onsets + signal.norm_rises_to,
        "interval_epochs": [np.nan, 33, 27],
        # The loss of the signal peaks 1.5 epochs before rho.
        "phase_a_epochs": [np.nan, 1.5, 1.5],
        "phase_b_epochs": FALLS[:3],
    }
    for name, values in expected.items():
        found = table[name].to_numpy(float)
        np.testing.assert_allclose(found, values, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(table["onset_weight_norm"], 1, rtol=0.05)
    np.testing.assert_allclose(table["peak_weight_norm"], signal.rise, rtol=0.05)
    rate = 0.5 / table["onset_weight_norm"] ** 2
    np.testing.assert_allclose(table["onset_effective_learning_rate"], rate)
    np.testing.assert_allclose(table["onset_effective_gradient_norm"], 2)
    np.testing.assert_allclose(table["phase_b_effective_gradient_norm"], 2)
    np.testing.assert_allclose(table["train_loss_before"], signal.level, rtol=0.01)
    ratio = table["peak_train_loss"] / signal.level
    assert ((0.1 * signal.spike < ratio) & (ratio <= 1.001 * signal.spike)).all()
    by_steps = [
        "onset_lead",
        "peak_gradient_ratio",
        "largest_cosine_distance",
        "largest_jump_ratio",
    ]
    assert table[by_steps].isna().all().all() == (resolution == "epoch")


def test_errors_are_those_late_in_the_phases_around(tmp_path: Path, signal: Planted) -> None:
    run = run_of(tmp_path / "run", signal)
    table = table_of(run, "epoch")
    assert (table["peak_train_error"] == 0.4).all()
    # A straight line's median over the last third of a phase is its value five sixths through it.
    ends = np.array([*signal.onsets, signal.end])
    middles = ends - np.array(FALLS) / 6
    errors = 0.3 - 0.2 * middles / signal.end
    np.testing.assert_allclose(table["test_error_before"], errors[:3], atol=0.003)
    np.testing.assert_allclose(table["test_error_after"], errors[1:], atol=0.003)
    # The loss is 0.01 again when rho peaks.
    assert table["small_error_delay_epochs"].iloc[1:].between(-1.5, 1.5).all()
    assert np.isnan(table["small_error_delay_epochs"].iloc[0])
    # From the peak, which lies between two epochs, the loss falls to a tenth.
    assert table["phase_a_loss_ratio"].iloc[1:].between(0.09, 0.25).all()


def test_gradients_that_still_grow_when_rho_peaks_have_not_fallen(
    tmp_path: Path, signal: Planted
) -> None:
    """Whatever they do after it."""
    peaks = np.array(signal.norm_peaks)

    def growing(times: np.ndarray) -> np.ndarray:
        since = times[:, None] - peaks
        return np.exp(np.where((since > -3) & (since < 2), since, -3.0).max(axis=1))

    table = table_of(run_of(tmp_path / "run", signal, gradient_norm=growing), "step")
    np.testing.assert_allclose(table["peak_gradient_ratio"], 1, rtol=0.2)


def test_an_error_that_stays_small_does_not_become_so(tmp_path: Path, signal: Planted) -> None:
    run = run_of(tmp_path / "run", signal)
    assert (table_of(run, "epoch")["start_train_error"].iloc[1:] == 0.4).all()
    calm = with_measure(run, "metrics", read_measure(run, "metrics").assign(train_error=0.01))
    assert (table_of(calm, "epoch")["start_train_error"].iloc[1:] == 0.01).all()


def test_an_error_that_never_becomes_small_does_so_no_sooner_than_the_period_ends(
    tmp_path: Path, signal: Planted
) -> None:
    run = run_of(tmp_path / "run", signal)
    large = with_measure(run, "metrics", read_measure(run, "metrics").assign(train_error=0.02))
    found = table_of(large, "epoch")["small_error_delay_epochs"]
    np.testing.assert_allclose(found.iloc[1:], FALLS[1:3], atol=1.5)


def test_leads_and_jumps_are_those_planted(tmp_path: Path, signal: Planted) -> None:
    """The gradient peaks a step after the loss; one step turns far, 3 steps after its onset.

    From there to rho's peak, at 30 steps, it falls to a fifth.
    """
    first = np.round(np.array(signal.onsets) * PER_EPOCH)

    def near(times: np.ndarray, offset: int, width: int) -> np.ndarray:
        steps = np.round(times * PER_EPOCH)
        return (np.abs(steps[:, None] - first - offset) <= width).any(axis=1)

    run = run_of(
        tmp_path / "run",
        signal,
        gradient_norm=lambda times: np.select(
            [near(times, 16, 2), near(times, 30, 4)], [50.0, 10.0], 1.0
        ),
        cosine_distance=lambda times: np.where(near(times, 3, 0), 0.2, 1e-4),
    )
    table = table_of(run, "step")
    np.testing.assert_allclose(table["largest_cosine_distance"], 0.2)
    np.testing.assert_allclose(table["largest_jump_ratio"], 0.2 / 1e-4)
    # The effective norms have rho as a factor, which rises by 1.5 within 25 steps from 5 on.
    expected = 10 * 1.5 / (50 * 1.5 ** (11 / 25))
    np.testing.assert_allclose(table["peak_gradient_ratio"], expected, rtol=0.05)
    # A rise by 100 within 15 steps has its first tenth after 1.5; that of rho begins at 5 steps,
    # takes 25, and has its first tenth after 2.5.
    assert table["onset_lead"].between(5, 7).all()


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.05, 0.4), st.floats(20, 1e4))
def test_noise_of_the_loss_does_not_make_it_lead(seed: int, noise: float, spike: float) -> None:
    """Loss and rho that begin to rise at the same step, again and again with other noise.

    One destabilisation's lead has the noise's error; what is judged is the median of several.
    """
    length, rise = 400, 20
    position = np.arange(2 * length)
    log_norm = np.interp(position, [0, length, length + rise, 2 * length], [0.8, 0, 0.7, 0])
    log_loss = np.interp(position, [0, 50, length, length + rise], [0, -1, -1, np.log(spike) - 1])
    log_loss[length + rise :] -= 0.05 * np.arange(length - rise)
    rng = np.random.default_rng(seed)
    leads = []
    for _ in range(41):
        metrics = pd.DataFrame(
            {
                "epoch": position / PER_EPOCH,
                "train_loss": np.exp(log_loss + noise * rng.standard_normal(2 * length)),
                "weight_norm": np.exp(log_norm),
            }
        )
        course = replace(course_of_metrics(metrics), per_epoch=PER_EPOCH)
        leads.append(destabilisations.onset_lead(course, course.found[0]))
    # Noise above a tenth of the rise hides its beginning, so that the loss seems to rise late.
    assert -3 <= np.median(leads) <= 1


@given(st.floats(0.1, 5), st.floats(0.1, 5), st.integers(20, 200), st.booleans())
def test_the_area_of_an_ellipse(width: float, height: float, points: int, clockwise: bool) -> None:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False) * (-1 if clockwise else 1)
    area = signed_area(3 + width * np.cos(angle), height * np.sin(angle) - 7)
    assert area == pytest.approx((-1 if clockwise else 1) * np.pi * width * height, rel=0.02)


def test_a_course_that_turns_about_itself_has_a_sign(tmp_path: Path, signal: Planted) -> None:
    """Gradients that are large while rho grows, and small while it falls, or the other way."""

    def rising(times: np.ndarray) -> np.ndarray:
        starts = np.array(signal.norm_onsets)
        return ((times[:, None] > starts) & (times[:, None] < starts + 2.5)).any(axis=1)

    found = []
    for name, high, low in (("a", 9.0, 1.0), ("b", 1.0, 9.0)):
        run = run_of(
            tmp_path / name,
            signal,
            gradient_norm=lambda t, high=high, low=low: np.where(rising(t), high, low),
        )
        found.append(table_of(run, "step")["circulation"])
    assert found[0].isna().tolist() == [True, False, False]
    assert (found[0].iloc[1:] > 0).all()
    assert (found[1].iloc[1:] < 0).all()


def test_a_run_without_any_has_no_row(tmp_path: Path) -> None:
    steady = run_of(tmp_path / "steady", Planted((60.0,)))
    other = run_of(tmp_path / "other", Planted((30.0, 30.0)))
    both = destabilisations.tabulate([steady, other], near_zero="train_loss", resolution="epoch")
    assert both["run"].tolist() == [1]
    none = table_of(steady, "step")
    assert none.empty
    assert list(none.columns) == ["run", "seed", *COLUMNS]


# Fixed norms


@given(st.integers(0, 1000), st.floats(0.01, 0.3), st.floats(0, 0.3), st.integers(1, 30))
def test_what_the_turns_of_sgd_do_to_a_free_norm(
    seed: int, rate: float, decay: float, steps: int
) -> None:
    """Random gradients perpendicular to the weights, by the update rule itself."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(12)
    norms, distances = [], []
    for _ in range(steps):
        gradient = 3 * rng.standard_normal(12)
        gradient -= gradient.dot(weights) / weights.dot(weights) * weights
        after = weights - rate * gradient - rate * decay * weights
        norms.append(np.linalg.norm(weights))
        distances.append(cosine_distance(weights, after))
        weights = after
    found = unprojected_log_norm(np.array(distances), np.full(steps, rate), decay)
    np.testing.assert_allclose(found, np.log(np.array(norms) / norms[0]), atol=1e-9)


@pytest.mark.parametrize(
    ("turn", "optimiser", "expected"),
    [
        pytest.param(0.02, SGD, 3, id="would move a free norm"),
        pytest.param(0.0105, SGD, 0, id="would hardly move it"),
        pytest.param(0.0105, {**SGD, "momentum": 0.9}, 3, id="not known with momentum"),
        pytest.param(0.0105, {**SGD, "name": "adam"}, 3, id="not known with Adam"),
    ],
)
def test_a_fixed_norm_is_judged_as_a_free_one(
    tmp_path: Path, turn: float, optimiser: dict[str, Any], expected: int
) -> None:
    """Each of 25 steps makes a free norm grow by turn - 0.01, together by 0.25 or by 0.0125."""
    signal = Planted(FALLS, fixed=True)
    starts = np.array(signal.norm_onsets)

    def turns(times: np.ndarray) -> np.ndarray:
        since = times[:, None] - starts
        return np.where(((since >= 0) & (since < 2.5)).any(axis=1), turn, 1e-6)

    run = run_of(tmp_path / "run", signal, optimiser=optimiser, cosine_distance=turns)
    course = course_of_steps(run)
    assert course.norm_is_fixed
    assert len(course.found) == expected
    table = events_of(course, run.metrics())
    assert table[["onset_lead", "peak_gradient_ratio", "circulation"]].isna().all().all()
    assert len(course_of_metrics(run.metrics()).found) == 3, "per epoch the loss decides alone"


@pytest.mark.parametrize(("steps", "window"), [(1, 5), (12, 5), (47, 5), (56, 7), (391, 49)])
def test_longer_epochs_are_smoothed_over_more_steps(steps: int, window: int) -> None:
    assert smoothing_window(steps) == window


# Complete periods


def test_all_complete_periods_have_a_row(tmp_path: Path) -> None:
    run = write_stepping_run(tmp_path / "run", [90, 110, 70, 80])
    table = complete_periods.tabulate([run], smoothing_epochs=1)
    assert list(table.columns) == ["run", "seed", *complete_periods.COLUMNS]
    assert table["number"].tolist() == [1, 2, 3]
    # By the construction of the signal; steps are fifths of an epoch.
    np.testing.assert_allclose(table["phase_b_steps"], [110, 70, 80], atol=2)
    np.testing.assert_allclose(table["phase_a_steps"], 3, atol=1)
    np.testing.assert_allclose(table["phase_c_steps"], 5, atol=1)
    np.testing.assert_allclose(table["start_epoch"], np.array([94, 212, 290]) / 5, atol=0.4)
    assert np.allclose(table["end_epoch"].iloc[:-1], table["start_epoch"].iloc[1:])
    assert table["consistent"].all()
    assert table["share_within_bounds"].between(0, 1).all()


def test_growth_is_that_of_the_planted_steps(tmp_path: Path) -> None:
    signal = Planted((30.0, 40.0, 30.0))

    def growing(times: np.ndarray) -> np.ndarray:
        # From the middle of the second phase B, at 53 epochs, to its end at 73: by e.
        return 1e-4 * np.exp((times - 53) / 20)

    run = run_of(tmp_path / "run", signal, cosine_distance=growing)
    (row,) = complete_periods.tabulate([run], smoothing_epochs=1).to_dict("records")
    assert row["cosine_distance_growth"] == pytest.approx(np.e, rel=0.05)
    # With a constant effective gradient norm the bounds grow as 1 / rho^4 does.
    start, end = (signal.at(np.array([time]))[1][0] for time in (53.0, 73.0))
    for column in ("lower_bound_growth", "upper_bound_growth"):
        assert row[column] == pytest.approx((start / end) ** 4, rel=0.05)


def test_bounds_of_smooth_windows_hold_every_step(tmp_path: Path) -> None:
    """Also where an epoch has an even number of steps.

    A running minimum over a window without a middle would leave out the step itself now and then.
    """
    rng = np.random.default_rng(0)
    signal = Planted((30.0, 40.0, 30.0))
    count = int(signal.end) * PER_EPOCH
    noise = np.exp(0.5 * rng.standard_normal(count))
    norm = signal.at(np.arange(count) / PER_EPOCH)[1]
    run = run_of(
        tmp_path / "run",
        signal,
        gradient_norm=lambda times: noise,
        cosine_distance=lambda times: (0.5 * noise / norm) ** 2 / 2,
    )
    table = one_period.tabulate([run], smoothing_epochs=1)
    phase_b = table[table["phase"] == "B"]
    # Where a step is the extreme of all windows around, a bound is its own value up to rounding.
    assert (phase_b["cosine_distance"] >= phase_b["lower_bound"] * (1 - 1e-9)).all()
    assert (phase_b["cosine_distance"] <= phase_b["upper_bound"] * (1 + 1e-9)).all()
    assert (phase_b["lower_bound"] < phase_b["cosine_distance"]).mean() > 0.9
    (row,) = complete_periods.tabulate([run], smoothing_epochs=1).to_dict("records")
    assert 0.95 < row["share_within_bounds"] <= 1


# Proposition 2 in a phase B


def phase_b_of(
    seed: int, *, rate: float = 0.3, decay: float = 0.02, steps: int = 150, turn: float = 1.0
) -> pd.DataFrame:
    """Eq. (2) in twelve dimensions with random tangential gradients that grow with time."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(12)
    x *= 3 / np.linalg.norm(x)
    rows = []
    for step in range(steps):
        gradient = rng.standard_normal(12)
        gradient -= gradient.dot(x) / x.dot(x) * x
        size = 0.3 * np.exp(step / steps + 0.2 * rng.standard_normal())
        gradient *= size / np.linalg.norm(gradient) / np.linalg.norm(x)
        after = x - rate * (gradient + decay * x)
        rows.append((np.linalg.norm(x), size, turn * cosine_distance(x, after), rate))
        x = after
    columns = ["weight_norm", "effective_gradient_norm", "cosine_distance", "learning_rate"]
    table = pd.DataFrame(rows, columns=columns)
    trend = table["cosine_distance"].rolling(9, center=True, min_periods=1).mean()
    return table.assign(cosine_distance_trend=trend)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.05, 0.5), st.floats(1e-3, 0.1))
def test_no_jump_of_sgd_comes_at_a_larger_norm_than_proposition_2_allows(
    seed: int, rate: float, decay: float
) -> None:
    ratio = complete_periods.jump_norm_ratio(phase_b_of(seed, rate=rate, decay=decay), decay)
    assert np.isnan(ratio) or ratio >= 1 - 1e-9


def test_its_ratio_written_out() -> None:
    """Rate 0.5, decay 0.1; time begins at the second step, and the fourth goes as far as the last.

    With exact constants, lambda (1 - eta lambda / 2) = 0.0975 and L / (1 - eta lambda).
    """
    columns = ["weight_norm", "effective_gradient_norm", "cosine_distance"]
    rows = [(5, 9, 0.09), (4, 1, 0.01), (3.9, 1.5, 0.03), (3.8, 4, 0.05), (3.7, 3, 0.04)]
    phase_b = pd.DataFrame(rows, columns=columns).assign(learning_rate=0.5)
    phase_b["cosine_distance_trend"] = phase_b["cosine_distance"]
    rest = np.sqrt(0.5 / (2 * 0.0975)) * 1
    least = rest + (16 - rest) * (1 - 4 * 0.5 * 0.0975) ** 2
    possible = 0.5 * (4 / 0.95) / np.sqrt(2 * 0.04)
    found = complete_periods.jump_norm_ratio(phase_b, 0.1)
    assert found == pytest.approx(possible / least, rel=1e-12)
    # A rate that changes before the jump, gradients too large for the norm to fall, or so large a
    # jump at once: the proposition says nothing.
    for changed in (
        {"learning_rate": [0.5, 0.5, 0.4, 0.4, 0.4]},
        {"effective_gradient_norm": [9, 20, 20, 21, 20]},
        {"effective_gradient_norm": [9, 1, 1.5, 12, 3]},
        {"cosine_distance": 0.04},
    ):
        assert np.isnan(complete_periods.jump_norm_ratio(phase_b.assign(**changed), 0.1)), changed
    assert np.isnan(complete_periods.jump_norm_ratio(phase_b, np.nan))
    assert np.isnan(complete_periods.jump_norm_ratio(phase_b.iloc[:0], 0.1))


def test_steps_that_turn_farther_than_their_gradients_break_it() -> None:
    found = [complete_periods.jump_norm_ratio(phase_b_of(s, turn=9.0), 0.02) for s in range(9)]
    assert np.nanmin(found) < 0.9
    assert np.isfinite(found).sum() >= 5


def test_with_momentum_it_says_nothing(tmp_path: Path, signal: Planted) -> None:
    growing = {
        "cosine_distance": lambda times: 1e-3 * np.exp(times / 50),
        "gradient_norm": lambda times: np.full(len(times), 0.1),
    }
    found = {
        momentum: complete_periods.tabulate(
            [
                run_of(
                    tmp_path / str(momentum),
                    signal,
                    optimiser={**SGD, "momentum": momentum},
                    **growing,
                )
            ],
            smoothing_epochs=1,
        )["jump_norm_ratio"]
        for momentum in (0.0, 0.9)
    }
    assert found[0.0].notna().any()
    assert found[0.9].isna().all()


@given(st.floats(0.01, 100), st.integers(4, 300))
def test_late_growth_of_an_exponential(factor: float, length: int) -> None:
    times = np.arange(length)
    half = length // 2
    values = np.where(times < half, 7.0, factor ** ((times - half) / (length - 1 - half)))
    assert late_growth(values) == pytest.approx(factor)
    assert np.isnan(late_growth(np.zeros(length)))
    assert np.isnan(late_growth(values[:1]))


def test_late_growth_is_that_of_the_line_of_least_squares() -> None:
    values = np.exp(np.random.default_rng(0).standard_normal(9))
    time, logarithm = np.linspace(0, 1, 5), np.log(values[4:])
    centred = time - time.mean()
    slope = float(centred @ logarithm / (centred @ centred))
    assert late_growth(values) == pytest.approx(np.exp(slope), rel=1e-12)


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0, 2.0], [1.0, 2.0, 0.0, 3.0], [1.0, 2.0, np.nan, 3.0]]
)
def test_late_growth_of_too_little_is_nothing(values: list[float]) -> None:
    assert np.isnan(late_growth(np.array(values)))


# Dials


def test_the_dials_of_a_planted_run(tmp_path: Path, signal: Planted) -> None:
    run = run_of(
        tmp_path / "run", signal, gradient_norm=lambda times: 1.0 + (np.arange(len(times)) == 7)
    )
    table = dials.tabulate([run], resolution="step")
    assert list(table.columns) == ["run", "seed", *dials.DIALS]
    (found,) = table.to_dict("records")
    steps = int(signal.end) * PER_EPOCH
    assert found["decay_units"] == pytest.approx(0.5 * 0.02 * steps)
    assert found["decay_per_step"] == pytest.approx(0.01)
    times = np.arange(steps) / PER_EPOCH
    norm = signal.at(times)[1]
    effective = norm * np.where(np.arange(steps) == 7, 2, 1)
    premise = 2 * 0.01 * effective.max() / effective.min()
    assert found["gradient_range_premise"] == pytest.approx(premise)
    # With gradient 1 the effective step is eta / rho, and rho falls to 1.
    assert found["late_step_size"] == pytest.approx(0.5 / np.sqrt(0.02), rel=0.15)
    assert found["largest_cosine_distance"] == 1e-4
    assert found["phase_a_epochs"] == pytest.approx(1.5, abs=0.2)
    assert found["onset_norm_spread"] == pytest.approx(1, abs=0.01)
    assert found["peak_train_error"] == 0.4
    assert np.isnan(found["interval_variation"])
    (by_epoch,) = dials.tabulate([run], resolution="epoch").to_dict("records")
    assert by_epoch["decay_units"] == found["decay_units"]
    assert np.isnan(by_epoch["late_step_size"])


# With rate 1 and decay 1/8 kappa is 2, and the first 4 steps do not count: from 2 to 6.
GRADIENTS = np.array([0.1, 9.0, 9.0, 2.0, 1.0, 3.0, 2.0, 2.5])


@pytest.mark.parametrize(
    ("squared_norms", "expected"),
    [
        ([99.0, 99, 99, 99, 3, 4, 5, 3], 1.0),
        ([4.0, 4, 4, 4, 2.01, 1.99, 6.01, 5.99], 0.5),  # the ends are exact
        ([4.0, 4, 4, 4, 7, 1, 9, 10], 0.0),
    ],
)
def test_the_share_of_late_steps_inside_the_interval(
    squared_norms: list[float], expected: float
) -> None:
    norm = np.sqrt(squared_norms)
    assert dials.settled_share(np.ones(8), 1 / 8, GRADIENTS, norm) == expected


# With rate 1 and decay 0.1 lambda (1 - eta lambda / 2) is 0.095 and kappa 2.294, so that with L = 1
# rho^2 has to come down to 2.409 (1.05 kappa). From 40 it has to within 27.8 steps: rho^2 - kappa
# shrinks to 0.0030 of what it is, by 0.81 each.
LONG = 40.0 * 0.9 ** np.arange(60)


@pytest.mark.parametrize(
    ("squared_norms", "largest", "expected"),
    [
        pytest.param(LONG, 1.0, 27 / 28, id="in time"),
        pytest.param(40.0 * 0.95 ** np.arange(60), 1.0, 55 / 28, id="too late"),
        pytest.param(np.full(60, 40.0), 1.0, 60 / 28, id="never"),
        pytest.param(np.full(20, 40.0), 1.0, np.nan, id="over before"),
        pytest.param(LONG[:28], 1.0, 27 / 28, id="over just after"),
        pytest.param(LONG, 18.0, np.nan, id="begins inside"),
        pytest.param(LONG, 0.0, np.nan, id="without gradients"),
    ],
)
def test_the_time_in_which_the_norm_comes_down(
    squared_norms: np.ndarray, largest: float, expected: float
) -> None:
    bounds = np.full(len(squared_norms), largest)
    rates, norm = np.ones(len(bounds)), np.sqrt(squared_norms)
    found = dials.settling_time_share(rates, 0.1, bounds, norm)
    assert found == pytest.approx(expected, nan_ok=True)
    assert np.isnan(dials.settling_time_share(rates, np.nan, bounds, norm))
    assert np.isnan(dials.settling_time_share(np.arange(1.0, 1 + len(norm)), 0.1, bounds, norm))


@pytest.mark.parametrize(("steps", "decay"), [(8, 0.0), (4, 1 / 8), (8, 1 / 16)])
def test_a_run_without_decay_or_late_steps_settles_nowhere(steps: int, decay: float) -> None:
    norm = np.full(steps, 2.0)
    assert np.isnan(dials.settled_share(np.ones(steps), decay, GRADIENTS[:steps], norm))


def test_a_dial_that_cannot_be_read_is_neither_met_nor_missed() -> None:
    dial = dials.DIALS["interval_variation"]
    assert dial.met(0.1) is True
    assert dial.met(0.7) is False
    assert dial.met(float("nan")) is None
    assert all(one.least <= one.most for one in dials.DIALS.values())


# Their blocks


@pytest.mark.parametrize("block", [Destabilisations, Dials, PeriodStatistics])
def test_steps_are_read_where_they_are_asked_for(block: Any) -> None:
    assert Steps() not in block().measures(None)
    assert Steps() in block(resolution="step").measures(None)


def test_steps_do_not_know_the_train_error() -> None:
    given = {"name": "destabilisations", "near_zero": "train_error", "resolution": "step"}
    with pytest.raises(PerigeeError, match="the train loss only"):
        validated_block("analysis", given, "analysis", "a file")
