"""perigee.analysis.regimes on curves whose regimes are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.analysis import regimes
from perigee.analysis.inputs import RunInput
from perigee.analysis.regimes import REGIMES
from perigee.errors import PerigeeError
from support.synthetic_runs import read_measure, with_measure, write_run

EPOCHS = 200
RATE = "optimiser.effective_learning_rate"
CLASSES = [2, 3, 5, 10, 100, 1000]

Course = tuple[np.ndarray, np.ndarray]
"""Train loss and train error, the error as a share of that of a random guess."""


def noise(rng: np.random.Generator, size: int, epochs: int = EPOCHS) -> np.ndarray:
    """Independent factors about 1."""
    factors: np.ndarray = np.exp(size / 100 * rng.standard_normal(epochs + 1))
    return factors


def converging(rng: np.random.Generator, fast: float = 1.0, epochs: int = EPOCHS) -> Course:
    """The loss falls as 1 / t, the error exponentially until the images are fitted."""
    times = fast * np.linspace(0, 100, epochs + 1)
    return 5 / (1 + times) * noise(rng, 3, epochs), np.exp(-times / 3) * (times < 15)


def slow(rng: np.random.Generator, share: float = 0.3, epochs: int = EPOCHS) -> Course:
    """The loss falls by a share of itself in the whole run, and the images are never fitted."""
    times = np.linspace(0, 1, epochs + 1)
    return 5 * (1 - share) ** times * noise(rng, 0.1, epochs), np.maximum(1 - times, 0.3)


def hopeless(rng: np.random.Generator) -> Course:
    """The loss falls so slowly that the error stays that of a random guess."""
    loss, _ = slow(rng, 0.03)
    return loss / noise(rng, 0.1) * noise(rng, 0.05), np.ones(EPOCHS + 1)


def fitted(rng: np.random.Generator) -> Course:
    """The loss has reached what the frozen head allows, and fluctuates there."""
    loss, error = converging(rng)
    return np.maximum(loss, 0.4) * noise(rng, 10), error


def stuck(rng: np.random.Generator, size: int = 25, epochs: int = EPOCHS) -> Course:
    """The loss comes down to a level and fluctuates about it."""
    times = np.arange(epochs + 1)
    loss, error = 1.5 + 4 * np.exp(-times / 4), 0.2 + 0.8 * np.exp(-times / 4)
    wobble = noise(rng, size, epochs)
    return loss * wobble, np.minimum(error * wobble, 0.45)


def leaving(rng: np.random.Generator, share: float = 0.4, until: float = 0.0) -> Course:
    """The loss is stuck for a share of all epochs, and then falls within five epochs."""
    (loss, error), last = stuck(rng), round(EPOCHS * (until + share))
    since = np.arange(1, EPOCHS + 1 - last)
    loss[last + 1 :] = (
        0.05 * (1 + 10 * np.exp(-since)) / (1 + since / 10) * noise(rng, 3)[: len(since)]
    )
    error[last + 1 :] = np.where(since < 4, 0.05, 0)
    return loss, error


def guessing(rng: np.random.Generator) -> Course:
    """The network is never better than a random guess."""
    return 8 * noise(rng, 20), 1 - 0.0005 * rng.random(EPOCHS + 1)


def hitting(rng: np.random.Generator) -> Course:
    """It is better at times, and loses that soon."""
    loss, error = guessing(rng)
    hits = np.arange(EPOCHS + 1) % 15 < 3
    return np.where(hits, 2.0, loss), np.where(hits, 0.2, error)


def late_learner(rng: np.random.Generator) -> Course:
    """The loss stays at that of a random guess for 60 epochs before it falls."""
    loss, error = converging(rng)
    loss[60:], error[60:] = loss[: EPOCHS - 59].copy(), error[: EPOCHS - 59].copy()
    loss[:60], error[:60] = 5 * noise(rng, 3)[:60], 1
    return loss, error


COURSES = {
    "convergence": (converging, slow, hopeless, fitted, late_learner),
    "border_of_convergence": (leaving,),
    "equilibrium": (stuck,),
    "border_of_divergence": (hitting,),
    "divergence": (guessing,),
}
KNOWN = [(regime, course) for regime, courses in COURSES.items() for course in courses]


def judged(course: Course, classes: int = 10, late: float = 0.2, stopped: bool = False) -> str:
    loss, share = course
    random = 1 - 1 / classes
    return regimes.regime_of(
        loss, random * share, classes=classes, late_fraction=late, stopped=stopped
    )


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(("regime", "course"), KNOWN, ids=lambda one: getattr(one, "__name__", one))
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-6, 6))
@settings(max_examples=8)
def test_every_regime_is_recognised(
    regime: str, course: Any, classes: int, seed: int, exponent: float
) -> None:
    """In any noise, for any number of classes, and whatever the unit of the loss."""
    loss, share = course(np.random.default_rng(seed))
    assert judged((10**exponent * loss, share), classes) == regime


@given(seed=st.integers(0, 2**32 - 1), epochs=st.integers(40, 1000), fast=st.floats(1, 100))
@settings(max_examples=15)
def test_neither_length_nor_speed_makes_another_regime(seed: int, epochs: int, fast: float) -> None:
    rng = np.random.default_rng(seed)
    assert judged(converging(rng, fast, epochs)) == "convergence"
    assert judged(stuck(rng, 15, epochs)) == "equilibrium"


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.02, 0.999))
@settings(max_examples=50)
def test_a_steady_fall_leaves_no_plateau(seed: int, share: float) -> None:
    """It stays within a factor 2 of its median for long, but is nowhere sudden."""
    assert judged(slow(np.random.default_rng(seed), share)) == "convergence"


@given(
    seed=st.integers(0, 2**32 - 1),
    power=st.floats(0.3, 4),
    begin=st.integers(1, 100),
    fitted_at=st.integers(1, 2 * EPOCHS),
)
@settings(max_examples=50)
def test_nor_is_a_power_of_the_time(seed: int, power: float, begin: int, fitted_at: int) -> None:
    times = np.arange(EPOCHS + 1)
    loss = (begin / (begin + times)) ** power * noise(np.random.default_rng(seed), 0.2)
    error = np.where(times < fitted_at, 0.3, 0)
    assert judged((loss, error)) == "convergence"


@pytest.mark.parametrize("until", [0.05, 0.3, 0.5])
@pytest.mark.parametrize(
    ("share", "regime"), [(0.1, "convergence"), (0.3, "border_of_convergence")]
)
def test_the_border_is_known_by_a_fifth_of_the_epochs(
    share: float, regime: str, until: float
) -> None:
    loss, error = leaving(np.random.default_rng(0), share, until)
    first = round(until * EPOCHS)
    loss[:first], error[:first] = loss[:first] + 5, 1.0  # at random guess until then
    assert judged((loss, error)) == regime


def test_a_fall_at_the_very_end_counts_once_the_loss_stays_low() -> None:
    for share, regime in ((0.9, "border_of_convergence"), (0.99, "equilibrium")):
        assert judged(leaving(np.random.default_rng(0), share)) == regime


def test_a_loss_that_comes_back_did_not_leave() -> None:
    loss, error = stuck(np.random.default_rng(0))
    loss[100:130], error[100:130] = 0.01, 0
    assert judged((loss, error)) == "equilibrium"


def test_the_fall_has_to_be_a_factor_of_ten() -> None:
    for level, regime in ((0.2, "convergence"), (0.1, "border_of_convergence")):
        loss, error = stuck(np.random.default_rng(0), 5)
        loss[100:], error[100:] = level, 0
        assert judged((loss, error)) == regime


def test_a_fall_has_to_be_clear_and_monotone() -> None:
    """Between equilibrium and convergence, with an error that tells nothing."""
    error, times = np.full(EPOCHS + 1, 0.2), np.arange(EPOCHS + 1)
    for per_run, size, regime in (
        (0.40, 1, "convergence"),
        (0.15, 1, "equilibrium"),  # less than 5 % in a fifth of the epochs
        (0.40, 30, "equilibrium"),  # noise hides it
    ):
        relaxed = 1 + 4 * np.exp(-times)
        loss = relaxed * (1 - per_run) ** (times / EPOCHS)
        assert judged((loss * noise(np.random.default_rng(0), size), error)) == regime


@pytest.mark.parametrize(
    ("classes", "random", "low"),
    [(10, 0.8, 0.6), (100, 0.98, 0.96), (4, 0.5, 0.1875), (3, 1 / 3, 1 / 6), (2, 0.25, 0.125)],
)
def test_a_random_guess_is_told_by_its_accuracy(classes: int, random: float, low: float) -> None:
    """Twice and four times that of guessing; with few classes half and a quarter of its error."""
    chance, loss = 1 - 1 / classes, np.ones(EPOCHS + 1)
    for late, lowest, regime in (
        (random + 0.001, low + 0.001, "divergence"),
        (random + 0.001, low - 0.001, "border_of_divergence"),
        (random - 0.001, low - 0.001, "equilibrium"),
    ):
        error = np.full(EPOCHS + 1, late)
        error[-10] = lowest
        assert judged((loss, error / chance), classes) == regime
        error[-10], error[100] = late, 0.0  # earlier errors do not count
        assert judged((loss, error / chance), classes) == (
            "divergence" if late > random else "equilibrium"
        )


@pytest.mark.parametrize(("_", "course"), KNOWN)
def test_a_stopped_run_diverged(_: str, course: Any) -> None:
    loss, error = course(np.random.default_rng(0))
    loss[-1] = math.nan
    assert judged((loss, error), stopped=True) == "divergence"


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 4, 9])
def test_the_shortest_runs_have_a_regime(epochs: int) -> None:
    for course in (converging, stuck):
        loss, error = course(np.random.default_rng(0), epochs=epochs)
        assert judged((loss, error)) in REGIMES
        assert 0 <= regimes.longest_plateau(loss, error, 10) <= 1


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.1, 0.8), begin=st.floats(0, 0.2))
@settings(max_examples=25)
def test_the_longest_plateau_is_as_long_as_it_was_made(
    seed: int, share: float, begin: float
) -> None:
    rng = np.random.default_rng(seed)
    start, end = round(EPOCHS * begin), round(EPOCHS * (begin + share))
    loss, error = 0.01 * noise(rng, 10), np.zeros(EPOCHS + 1)
    loss[start:end], error[start:end] = 1.0 * noise(rng, 10)[start:end], 0.3
    found = regimes.longest_plateau(loss, error, 10)
    assert found == pytest.approx((end - start) / EPOCHS, abs=0.03)
    error[start:end] = 0.9
    assert regimes.longest_plateau(loss, error, 10) == 0


def metrics_of(course: Course, classes: int = 10, **others: Any) -> pd.DataFrame:
    """Metrics of a course; gradients are 10 at the start, then 4, and 1 to 3 in turns late."""
    loss, share = course
    epochs = np.arange(len(loss))
    gradient = np.where(epochs < 0.8 * len(loss), 4.0, 1.0 + epochs % 3)
    gradient[0] = 10
    return pd.DataFrame(
        {
            "epoch": epochs,
            "train_loss": loss,
            "train_error": share * (1 - 1 / classes),
            "test_error": np.linspace(0.9, 0.1, len(loss)),
            "effective_gradient_norm": gradient,
            "effective_learning_rate": np.linspace(1, 2, len(loss)),
            **others,
        }
    )


def run_of(
    folder: Path, course: Course, swept: Mapping[str, Any], stopped: bool = False, **further: Any
) -> RunInput:
    name = "-".join(map(str, swept.values()))
    return write_run(
        folder / name, metrics_of(course), swept, stopped=stopped, further=further, classes=10
    )


def tabulate(runs: Sequence[RunInput], **others: Any) -> pd.DataFrame:
    given = {"rate": RATE, "late_fraction": 0.2, "further": (), **others}
    return regimes.tabulate(runs, **given)


def test_the_numbers_of_a_run(tmp_path: Path) -> None:
    course = converging(np.random.default_rng(0))
    full = pd.DataFrame({"epoch": np.arange(201), "full_gradient_norm": np.linspace(20, 10, 201)})
    run = run_of(tmp_path, course, {RATE: 0.1}, full_gradient_norm=full)
    (row,) = tabulate([run], further=["full_gradient_norm"]).to_dict("records")
    late = slice(161, 201)  # of 200 epochs the last 40, after the row of the initialisation
    assert row["regime"] == "convergence"
    assert row["late_train_loss"] == np.median(course[0][late])
    assert row["is_learning"]
    assert row["late_train_error"] == 0 == row["lowest_late_train_error"]
    assert row["late_accuracy_ratio"] == 10 == row["highest_late_accuracy_ratio"]
    assert row["late_test_error"] == pytest.approx(0.9 - 0.8 * 180.5 / 200)
    assert row["late_effective_learning_rate"] == pytest.approx(1 + 180.5 / 200)
    assert row["late_effective_gradient_norm"] == 2
    assert row["late_flatness"] == 0.5
    assert row["largest_gradient_share"] == 0.5, "that of the initialisation does not count"
    assert row["late_full_gradient_norm"] == pytest.approx(20 - 180.5 / 20)
    assert row["largest_full_gradient_share"] == pytest.approx((20 - 180.5 / 20) / 19.95)
    assert row["final_train_loss"] == course[0][-1]
    assert row["final_test_error"] == pytest.approx(0.1)
    columns = {"train_loss": course[0][late], "effective_gradient_norm": [*range(1, 4)] * 13 + [2]}
    for name, values in columns.items():
        expected = pd.Series(values).std() / pd.Series(values).mean()
        assert row[f"late_{name}_variation"] == pytest.approx(expected, rel=0.02)
    second_half = pd.Series(np.linspace(1, 2, 201)[100:])
    assert row["effective_learning_rate_variation"] == pytest.approx(
        second_half.std() / second_half.mean()
    )
    ranks = pd.Series(course[0][100:]).rank()
    assert row["loss_trend"] == pytest.approx(ranks.corr(pd.Series(range(101)).astype(float)))
    without = tabulate([run])
    assert not [name for name in without if "full" in name]


def test_accuracies_are_told_by_that_of_a_guess(tmp_path: Path) -> None:
    """The classes are those of the run's data."""
    loss, share = hitting(np.random.default_rng(0))
    run = run_of(tmp_path, (loss, share), {RATE: 0.1})
    for one, classes in ((run, 10), (replace(run, classes=40), 40)):
        (row,) = tabulate([one]).to_dict("records")
        error = share[161:] * 0.9
        assert row["late_accuracy_ratio"] == pytest.approx(classes * (1 - np.median(error)))
        assert row["highest_late_accuracy_ratio"] == pytest.approx(classes * (1 - 0.18))
        assert row["lowest_late_train_error"] == pytest.approx(0.18)
        # An error of 0.9 is random for 10 classes, and not for 40.
        assert row["is_learning"] == (classes == 40)


@pytest.mark.parametrize("fraction", [0.005, 0.3, 1.0])
def test_late_is_what_the_configuration_says(tmp_path: Path, fraction: float) -> None:
    course = stuck(np.random.default_rng(0))
    (row,) = tabulate([run_of(tmp_path, course, {RATE: 0.1})], late_fraction=fraction).to_dict(
        "records"
    )
    assert row["late_train_loss"] == np.median(course[0][-round(200 * fraction) :])


@pytest.mark.filterwarnings("error")
def test_a_stopped_run_has_no_late_loss(tmp_path: Path) -> None:
    loss, error = guessing(np.random.default_rng(0))
    loss[-1] = math.nan
    runs = [
        run_of(tmp_path, (loss, error), {RATE: 2.0}, stopped=True),
        run_of(tmp_path, stuck(np.random.default_rng(0)), {RATE: 1.0}),
    ]
    first, second = tabulate(runs).to_dict("records")
    assert (first["regime"], second["regime"]) == ("divergence", "equilibrium")
    for name in ("late_train_loss", "final_train_loss", "loss_trend", "late_loss_step"):
        assert math.isnan(first[name])
    assert [first["stopped"], second["stopped"]] == [True, False]
    assert first["late_train_error"] > 0.89
    assert math.isnan(second["distance_to_border"])


@pytest.mark.filterwarnings("error")
def test_a_loss_of_zero_is_a_number_like_others(tmp_path: Path) -> None:
    loss, error = converging(np.random.default_rng(0))
    loss[20:] = 0
    runs = [run_of(tmp_path, (loss, error), {RATE: rate}) for rate in (0.1, 0.2)]
    gone = read_measure(runs[0], "metrics").assign(effective_gradient_norm=0.0)
    runs[0] = with_measure(runs[0], "metrics", gone)
    first, second = tabulate(runs).to_dict("records")
    assert first["regime"] == second["regime"] == "convergence"
    assert first["late_flatness"] == math.inf
    for name in ("largest_gradient_share", "late_train_loss_variation", "loss_trend"):
        assert math.isnan(first[name])
    assert math.isnan(second["late_loss_step"])


def several(folder: Path, words: Sequence[str], **swept: Any) -> list[RunInput]:
    """Runs of these regimes, each at a higher rate than the one before."""
    made = {name: courses[0](np.random.default_rng(0)) for name, courses in COURSES.items()}
    return [
        run_of(folder, made[word], {RATE: 0.001 * 2.0**position, **swept})
        for position, word in enumerate(words)
    ]


WORDS = [*["convergence"] * 3, "border_of_convergence", *["equilibrium"] * 2, "divergence"]


def test_places_by_order_of_the_rate(tmp_path: Path) -> None:
    """However the runs are ordered in the table, which is kept."""
    runs = several(tmp_path, WORDS)
    for order in itertools.islice(itertools.permutations(range(len(WORDS))), 0, None, 700):
        table = tabulate([runs[number] for number in order])
        assert table["run"].tolist() == list(range(len(WORDS)))
        assert table[RATE].tolist() == [runs[number].swept[RATE] for number in order]
        rows = table.sort_values(RATE)
        assert rows["regime"].tolist() == WORDS
        assert rows["is_learning"].tolist() == [True] * 6 + [False]
        assert rows["place_from_top"].tolist() == [6, 5, 4, 3, 2, 1, 0]
        assert rows["rank_in_regime"].tolist() == [0, 1, 2, 0, 0, 1, 0]
        assert rows["rank_from_top"].tolist() == [2, 1, 0, 0, 1, 0, 0]
        assert rows["distance_to_border"].tolist() == [2, 1, 0, 0, 0, 1, 2]
        loss = rows["late_train_loss"].tolist()
        assert math.isnan(rows["late_loss_step"].iloc[0])
        expected = [high / low for low, high in itertools.pairwise(loss)]
        assert rows["late_loss_step"].tolist()[1:] == pytest.approx(expected)


def test_runs_are_compared_with_those_that_agree_in_all_else(tmp_path: Path) -> None:
    swept = [{"seed": 10, "model.width": 8}, {"seed": 11, "model.width": 8}, {"seed": 10}]
    words = [WORDS, WORDS[2:], WORDS[:3]]
    runs = [
        run
        for one, regimes_of in zip(swept, words, strict=True)
        for run in several(tmp_path / str(one), regimes_of, **one)
    ]
    table = tabulate(runs)
    assert table["distance_to_border"].tolist()[:12] == [2, 1, 0, 0, 0, 1, 2, 0, 0, 0, 1, 2]
    assert table["distance_to_border"].iloc[12:].isna().all()
    assert table["rank_in_regime"].tolist() == [0, 1, 2, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 2]
    assert table["late_loss_step"].isna().tolist() == [n in (0, 7, 12) for n in range(15)]


C, BC, E, BD, D = REGIMES
NAN = math.nan


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([C, C, E, E, D], [1, 0, 0, 1, 2]),
        ([C, BC, BC, E, BD], [0, 0, 0, 0, 1]),
        ([C, E, D, BD, D, E], [0, 0, 1, 2, 3, 4]),  # disorder elsewhere does not move the border
        ([C, E], [0, 0]),
        ([C, D], [NAN] * 2),
        ([C, C], [NAN] * 2),
        ([E, E, D], [NAN] * 3),
        ([BC, E], [NAN] * 2),
        ([C, BC, D], [NAN] * 3),
        ([C, BD, E], [NAN] * 3),
        ([C, E, C, E], [NAN] * 4),
        ([C, BC, C, E], [NAN] * 4),
        ([C, E, BC, E], [NAN] * 4),
        ([], []),
    ],
)
def test_the_distance_to_the_border_is_known_where_the_border_is(
    words: list[str], expected: list[float]
) -> None:
    np.testing.assert_array_equal(regimes.distances_to_border(words), expected)


def test_a_rate_that_is_not_swept_is_told(tmp_path: Path) -> None:
    runs = several(tmp_path, [C, E])
    with pytest.raises(PerigeeError) as caught:
        tabulate(runs, rate="optimiser.learning_rate")
    assert str(caught.value) == (
        "The analysis 'regimes' compares runs by 'optimiser.learning_rate', but these differ in "
        "optimiser.effective_learning_rate; name another 'rate', or sweep it."
    )
