"""The quantities of perigee.claims on tables whose answer is known by construction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.analysis.periods import find_destabilisations
from perigee.claims import destabilisations
from perigee.claims.columns import column_ratio, column_statistic
from perigee.claims.phases import growth_late_in_phase_b, norm_onset_after_loss_onset
from perigee.claims.rows import NotMeasurableError
from perigee.claims.similarity import (
    ensemble_gain_share,
    similarity_excess,
    similarity_in_last_period,
    similarity_trend,
    similarity_within_period,
)
from perigee.errors import PerigeeError
from support.synthetic_tables import (
    Periodic,
    Stuck,
    table_of_period,
    table_of_runs,
    table_of_similarity,
)


def statistic_of(table: pd.DataFrame, **given: Any) -> float:
    """`column_statistic` with the defaults of the registry."""
    return column_statistic(
        table, **{"statistic": "mean", "where": {}, "last_fraction": 1.0} | given
    )


# Columns

NUMBERS = [4.0, -1.0, 7.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("first", 4), ("last", 3), ("minimum", -1), ("maximum", 7), ("mean", 3), ("median", 3)],
)
def test_a_statistic_of_a_column(statistic: str, expected: float) -> None:
    table = pd.DataFrame({"x": NUMBERS})
    assert statistic_of(table, column="x", statistic=statistic) == expected


def test_only_rows_with_all_the_values_count() -> None:
    table = pd.DataFrame(
        {
            "rate": [0.1, 0.2, 0.2, 0.2],
            "phase": ["A", "A", "B", "B"],
            "done": [True, True, True, False],
            "x": [1.0, 2, 4, 8],
        }
    )
    for where, expected in (
        ({"rate": 0.1}, 1),
        ({"phase": "B"}, 6),
        ({"rate": 0.2, "done": True}, 3),
        ({"rate": 0.2, "phase": "A"}, 2),
    ):
        assert statistic_of(table, column="x", where=where) == expected
    assert math.isnan(statistic_of(table, column="x", where={"rate": 0.1, "phase": "B"}))


@pytest.mark.parametrize(
    ("fraction", "expected"), [(1.0, 3), (0.8, 2.75), (0.5, 4), (0.4, 2.5), (0.01, 3)]
)
def test_only_the_last_of_the_rows_count(fraction: float, expected: float) -> None:
    # A part of a row counts as a row.
    table = pd.DataFrame({"x": [9.0, *NUMBERS], "in": [False] + [True] * 5})
    assert statistic_of(table, column="x", where={"in": True}, last_fraction=fraction) == expected


def test_true_and_false_count_as_1_and_0() -> None:
    table = pd.DataFrame({"x": [True, False, True, True]})
    for statistic, expected in (("mean", 0.75), ("maximum", 1), ("minimum", 0), ("last", 1)):
        found = statistic_of(table, column="x", statistic=statistic)
        assert (found, type(found)) == (expected, float)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("statistic", ["first", "last", "minimum", "maximum", "mean", "median"])
def test_one_value_that_is_not_finite_leaves_nothing(statistic: str, bad: float) -> None:
    table = pd.DataFrame({"x": [1e-13, bad, 1e-13]})
    assert math.isnan(statistic_of(table, column="x", statistic=statistic))


def test_a_setting_counts_as_there_whichever_comes_first() -> None:
    table = pd.DataFrame({"run": [0, 0], "phase": ["none", "none"], "x": [1.0, 2.0]})
    for where in ({"phase": "B", "run": 0}, {"run": 0, "phase": "B"}):
        assert math.isnan(statistic_of(table, column="x", where=where))


@pytest.mark.parametrize("where", [{"rate": 0.3}, {"done": False, "rate": 0.1}])
def test_a_setting_that_no_row_has_is_an_error(where: dict[str, Any]) -> None:
    table = pd.DataFrame({"rate": [0.1, 0.2], "done": [True, False], "x": [1.0, 2.0]})
    with pytest.raises(NotMeasurableError, match=r"no rows with rate 0\.\d"):
        statistic_of(table, column="x", where=where)


@pytest.mark.parametrize("given", [{"column": "y"}, {"column": "x", "where": {"y": 1}}])
def test_a_column_that_is_not_there_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="y"):
        statistic_of(pd.DataFrame({"x": [1.0]}), **given)


@pytest.mark.parametrize(
    ("statistic", "expected"), [("minimum", 3 / 4), ("maximum", 12 / 8), ("mean", 7.5 / 6)]
)
def test_a_ratio_of_two_settings(statistic: str, expected: float) -> None:
    table = pd.DataFrame({"label": ["a", "b", "b", "a", "c"], "x": [3.0, 4, 8, 12, 100]})
    over, under = {"label": "a"}, {"label": "b"}
    found = column_ratio(table, column="x", statistic=statistic, over=over, under=under)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, math.nan, None])
def test_a_ratio_to_nothing_is_nothing(bad: float | None) -> None:
    rows = [("a", 1.0)] if bad is None else [("a", 1.0), ("b", bad)]
    table = pd.DataFrame(rows, columns=["label", "x"])
    over, under = {"label": "a"}, {"label": "b"}
    assert math.isnan(column_ratio(table, column="x", statistic="mean", over=over, under=under))


def test_nothing_is_measured_on_no_rows() -> None:
    for statistic in ("first", "last", "minimum", "maximum", "mean", "median"):
        empty = pd.DataFrame({"x": pd.Series([], dtype=float)})
        assert math.isnan(statistic_of(empty, column="x", statistic=statistic))


# Destabilisations

STEADY = Periodic([], tail=200)
RUNS = table_of_runs(
    {
        0.03: STEADY,
        0.1: Periodic([3.0, 2.0, 1.0, 1.0, 1.0, 1.0], length=80),
        0.3: Periodic([2.6, *[1.3] * 9], length=60),
        3.0: Stuck(),
    }
)


@pytest.mark.parametrize(
    ("rates", "fewest", "most"),
    [([0.03], 0, 0), ([0.1], 6, 6), ([0.3], 10, 10), ([3.0], 0, 0), ([0.1, 0.3, 0.03], 0, 10)],
)
def test_destabilisations_are_counted(rates: list[float], fewest: int, most: int) -> None:
    for statistic, expected in (("minimum", fewest), ("maximum", most)):
        found = destabilisations.count(RUNS, learning_rates=rates, statistic=statistic)
        assert found == expected


def test_ratios_of_two_rates() -> None:
    pair = {"higher": 0.3, "lower": 0.1}
    assert destabilisations.count_ratio(RUNS, **pair) == pytest.approx(10 / 6)
    # Where rho starts to rise it is two samples' fall below the level.
    falls = 2 ** (-2 / 60), 2 ** (-2 / 80)
    expected = 1.3 * falls[0] / falls[1]
    assert destabilisations.norm_ratio(RUNS, **pair) == pytest.approx(expected, rel=1e-3)
    found = destabilisations.warm_up_ratio(RUNS, **pair)
    assert found == first_at_consistent_norms(0.1) / first_at_consistent_norms(0.3)
    # At these two rates the warm-up stage has two destabilisations and one.
    assert first_at_consistent_norms(0.1) > 2 * 80
    assert 60 < first_at_consistent_norms(0.3) < 2 * 68


def first_at_consistent_norms(rate: float) -> int:
    """The epoch at which rho is first at most 1.25 times its lowest value late in the run.

    In these runs rho is at that level at every onset of the consistent stage.
    """
    norm = RUNS.loc[RUNS["optimiser.learning_rate"] == rate, "weight_norm"].to_numpy()
    return int(np.flatnonzero(norm <= 1.25 * norm[len(norm) // 2 :].min())[0])


def test_epochs_are_read_off_their_column() -> None:
    later = RUNS.assign(epoch=RUNS["epoch"] * 10 + 1000 * (RUNS["optimiser.learning_rate"] == 0.1))
    found = destabilisations.warm_up_ratio(later, higher=0.3, lower=0.1)
    at_lower, at_higher = (first_at_consistent_norms(rate) for rate in (0.1, 0.3))
    assert found == pytest.approx((1000 + 10 * at_lower) / (10 * at_higher), rel=1e-12)


def test_where_no_destabilisation_comes_before_there_is_no_warm_up() -> None:
    """Periods of 90 and 30 epochs at one norm: the first of each is not a warm-up stage."""
    runs = {rate: Periodic([1.0] * 5, length=length) for rate, length in ((0.1, 90), (0.3, 30))}
    assert math.isnan(destabilisations.warm_up_ratio(table_of_runs(runs), higher=0.3, lower=0.1))


@pytest.mark.parametrize("name", ["count_ratio", "norm_ratio", "warm_up_ratio"])
def test_ratios_to_a_run_without_destabilisations(name: str) -> None:
    ratio = getattr(destabilisations, name)
    assert math.isnan(ratio(RUNS, higher=0.1, lower=0.03))
    nothing_higher = ratio(RUNS, higher=3.0, lower=0.1)
    assert nothing_higher == 0 if name == "count_ratio" else math.isnan(nothing_higher)


@pytest.mark.parametrize("later", [0.01, 0.9])
@pytest.mark.parametrize(
    ("at_lower", "at_higher", "expected"),
    [
        ([0.2, 0.1, 0.08], [0.2, 0.1], 0.8),
        ([0.2, 0.1, 0.08], [0.1, 0.09], 0.9),
        ([0.2, 0.1, 0.08], [0.1, 0.12], 1.2),
        ([0.1, 0.2, 0.3], [0.2, 0.1], 2.0),
    ],
)
def test_the_worst_warm_up_destabilisation_counts(
    at_lower: list[float], at_higher: list[float], expected: float, later: float
) -> None:
    # In their stretches up to the consistent stage. What follows, ``later``, does not count.
    runs = {
        0.03: STEADY,
        0.1: Periodic([3.0, 2.0, *[1.0] * 4], test_errors=[*at_lower, *[later] * 4]),
        0.3: Periodic([2.0, *[1.0] * 3], test_errors=[*at_higher, *[later] * 3]),
    }
    found = destabilisations.warm_up_test_error_ratio(
        table_of_runs(runs), learning_rates=list(runs)
    )
    assert found == pytest.approx(expected)


def test_an_onset_belongs_to_the_stretch_before_it_alone() -> None:
    table = table_of_runs({0.1: Periodic([3.0, 2.0, 1.0, 1.0, 1.0, 1.0])})
    onsets = [
        d.norm_onset for d in find_destabilisations(table["train_loss"], table["weight_norm"])
    ]
    stretch = np.searchsorted(onsets, table["epoch"])
    # The lowest error of a stretch stands at its end, the onset itself.
    table["test_error"] = np.array([0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3])[stretch]
    ratio = destabilisations.warm_up_test_error_ratio(table, learning_rates=[0.1])
    assert ratio == pytest.approx(2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_run_that_diverged_has_no_count(bad: float) -> None:
    table = table_of_runs({0.1: Stuck(), 0.3: Periodic([1.0, 1.0])})
    table.loc[table.index[table["run"] == 0][-1], "train_loss"] = bad
    for statistic in ("minimum", "maximum"):
        for rates in ([0.1], [0.1, 0.3]):
            given = {"learning_rates": rates, "statistic": statistic}
            assert math.isnan(destabilisations.count(table, **given))


def test_two_runs_of_one_rate_and_seed_are_not_mixed() -> None:
    one = table_of_runs({0.1: Periodic([1.0, 1.0])})
    both = pd.concat([one, one.assign(run=1)])
    with pytest.raises(PerigeeError, match="2 runs have the learning rate and seed"):
        destabilisations.count(both, learning_rates=[0.1], statistic="minimum")
    periods = pd.concat([table_of_period(), table_of_period().assign(run=1)])
    for quantity in (
        norm_onset_after_loss_onset,
        lambda table: growth_late_in_phase_b(table, column="upper_bound"),
    ):
        with pytest.raises(PerigeeError, match="2 runs"):
            quantity(periods)


def test_without_warm_up_its_test_error_is_nothing() -> None:
    table = table_of_runs({0.03: STEADY, 0.1: Periodic([1.0] * 4)})
    for rates in ([0.03], [0.1], [0.03, 0.1]):
        found = destabilisations.warm_up_test_error_ratio(table, learning_rates=rates)
        assert math.isnan(found)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("count", {"learning_rates": [0.1, 0.2], "statistic": "maximum"}),
        ("count_ratio", {"higher": 0.2, "lower": 0.1}),
        ("norm_ratio", {"higher": 0.3, "lower": 0.2}),
        ("warm_up_ratio", {"higher": 0.2, "lower": 0.1}),
        ("warm_up_test_error_ratio", {"learning_rates": [0.2]}),
    ],
)
def test_a_rate_that_no_run_has_is_an_error(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(NotMeasurableError, match=r"learning rate 0\.2$"):
        getattr(destabilisations, name)(RUNS, **given)


# Phases


@pytest.mark.parametrize("lag", [-20, -1, 0, 1, 7])
def test_the_norms_onset_is_counted_from_the_losses(lag: int) -> None:
    assert norm_onset_after_loss_onset(table_of_period(norm_lag=lag)) == lag


@given(st.floats(0.01, 100))
def test_growth_is_the_factor_over_the_second_half(factor: float) -> None:
    table = table_of_period(growth={"lower_bound": factor})
    found = growth_late_in_phase_b(table, column="lower_bound")
    assert found == pytest.approx(factor, rel=1e-9)


def test_growth_is_that_of_the_line_of_least_squares() -> None:
    phase_b = np.exp(np.random.default_rng(0).standard_normal(9))
    table = pd.DataFrame(
        {"run": 0, "phase": ["A", *"BBBBBBBBB", "C"], "x": np.concatenate(([1e9], phase_b, [1e9]))}
    )
    time, logarithm = np.linspace(0, 1, 5), np.log(phase_b[4:])
    centred = time - time.mean()
    slope = float(centred @ logarithm / (centred @ centred))
    assert growth_late_in_phase_b(table, column="x") == pytest.approx(math.exp(slope), rel=1e-12)


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, 2.0], [1.0, 2.0, 0.0, 3.0], [1.0, 2.0, math.nan, 3.0]]
)
def test_growth_of_too_little_is_nothing(values: list[float]) -> None:
    table = pd.DataFrame({"run": 0, "phase": "B", "x": values})
    assert math.isnan(growth_late_in_phase_b(table, column="x"))


def test_without_phases_there_is_nothing() -> None:
    table = table_of_period().assign(phase="none")
    assert math.isnan(norm_onset_after_loss_onset(table))
    assert math.isnan(growth_late_in_phase_b(table, column="upper_bound"))


# Similarity


def test_similarities_are_those_of_minima() -> None:
    table = table_of_similarity(inside=0.9, cosines=(0.7, 0.5), gains=(0, 1, 2))
    assert similarity_within_period(table) == pytest.approx(0.9)
    assert similarity_in_last_period(table) == pytest.approx(0.5)
    assert similarity_excess(table, period=1) == pytest.approx(0.69)
    assert similarity_trend(table) == pytest.approx(-1)
    # What happens between the minima does not matter.
    table.loc[table["phase"] != "B", ["cosine_similarity", "ensemble_test_error"]] = math.nan
    assert similarity_in_last_period(table) == pytest.approx(0.5)
    assert ensemble_gain_share(table, period="anchor") == pytest.approx(0, abs=1e-12)
    assert ensemble_gain_share(table, period="last") == pytest.approx(2)


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        ((0.8, 0.6, 0.4), -1),
        # Ranks 4, 1, 2, 3 of four periods.
        ((0.1, 0.2, 0.3), -0.2),
        ((0.5,), math.nan),
    ],
)
def test_the_trend_is_a_rank_correlation(cosines: tuple[float, ...], expected: float) -> None:
    table = table_of_similarity(cosines=cosines, gains=[0.5] * (1 + len(cosines)))
    assert similarity_trend(table) == pytest.approx(expected, nan_ok=True)


def test_the_anchor_alone_is_no_period_to_be_measured() -> None:
    """With itself it has a similarity of one, which says nothing."""
    table = table_of_similarity()
    table = table[(table["period"] > 0) | (table["epoch"] == table["anchor_epoch"])]
    assert math.isnan(similarity_within_period(table))
    assert math.isnan(ensemble_gain_share(table, period="anchor"))


def test_without_a_later_period_there_is_no_last_one() -> None:
    table = table_of_similarity(cosines=(), gains=(0.1,))
    assert math.isnan(similarity_in_last_period(table))
    assert math.isnan(ensemble_gain_share(table, period="last"))
    assert math.isnan(similarity_excess(table, period=1))


def test_an_independent_ensemble_that_gains_nothing_is_no_measure() -> None:
    table = table_of_similarity()
    table["independent_ensemble_test_error"] = 0.9
    assert math.isnan(ensemble_gain_share(table, period="last"))


def test_without_minima_there_is_nothing_to_measure() -> None:
    table = table_of_similarity().assign(phase="start", minimum=False)
    for found in (
        similarity_within_period(table),
        similarity_in_last_period(table),
        similarity_trend(table),
        similarity_excess(table, period=0),
        ensemble_gain_share(table, period="last"),
        ensemble_gain_share(table, period="anchor"),
    ):
        assert math.isnan(found)
