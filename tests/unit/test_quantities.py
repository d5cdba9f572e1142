"""The quantities of perigee.claims on tables whose answer is known by construction."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.claims import destabilisations
from perigee.claims.columns import STATISTICS, Ratio, measure
from perigee.claims.rows import NotMeasurableError
from perigee.claims.settings import column_at_lowest, train_loss_ratio
from perigee.claims.similarity import (
    similarity_excess,
    similarity_in_last_period,
    similarity_trend,
    similarity_within_period,
)
from perigee.errors import PerigeeError
from support.synthetic_tables import (
    Periodic,
    Stuck,
    table_of_runs,
    table_of_similarity,
)

NOTHING_GIVEN = {
    "within_seed": "mean",
    "where": {},
    "last_fraction": 1.0,
    **dict.fromkeys(("over", "under", "plus", "minus", "against", "border")),
}


def statistic_of(table: pd.DataFrame, **given: Any) -> float:
    """A column's number with the defaults of its block."""
    found = measure(table, **NOTHING_GIVEN | given)
    assert isinstance(found, float)
    return found


def ratio_of(table: pd.DataFrame, **given: Any) -> float:
    """The same of two groups of rows."""
    found = measure(table, **NOTHING_GIVEN | given)
    assert isinstance(found, Ratio)
    return found.value


# Columns

NUMBERS = [4.0, -1.0, 7.0, 2.0, 3.0]


OF_NUMBERS = {
    "first": 4,
    "last": 3,
    "minimum": -1,
    "maximum": 7,
    "mean": 3,
    "median": 3,
    "sum": 15,
    "sd": math.sqrt((1 + 16 + 16 + 1) / 4),
    "cv": math.sqrt((1 + 16 + 16 + 1) / 4) / 3,
}


@pytest.mark.parametrize(("statistic", "expected"), OF_NUMBERS.items())
def test_a_statistic_of_a_column(statistic: str, expected: float) -> None:
    table = pd.DataFrame({"x": NUMBERS})
    assert statistic_of(table, column="x", within_seed=statistic) == pytest.approx(expected)


def test_the_spread_is_that_of_positive_values() -> None:
    table = pd.DataFrame({"x": [2.0, 8.0, 4.0], "y": [0.0, 1.0, 2.0]})
    assert statistic_of(table, column="x", within_seed="spread") == 4
    assert math.isnan(statistic_of(table, column="y", within_seed="spread"))


def test_one_value_has_no_deviation_and_a_mean_of_0_no_relative_one() -> None:
    for values, statistic in (([3.0], "sd"), ([3.0], "cv"), ([-1.0, 1.0], "cv")):
        table = pd.DataFrame({"x": values})
        assert math.isnan(statistic_of(table, column="x", within_seed=statistic))


def test_a_share_is_one_of_true_and_false() -> None:
    table = pd.DataFrame({"is_late": [True, False, True, True], "x": [1.0, 2.0, 0.0, 1.0]})
    assert statistic_of(table, column="is_late", within_seed="share") == 0.75
    with pytest.raises(PerigeeError, match=r"'share' is asked of column 'x'.*; take 'mean'"):
        statistic_of(table, column="x", within_seed="share")


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
        found = statistic_of(table, column="x", within_seed=statistic)
        assert (found, type(found)) == (expected, float)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_value_that_is_not_finite_leaves_nothing(statistic: str, bad: float) -> None:
    table = pd.DataFrame({"x": [1e-13, bad, 1e-13]})
    assert math.isnan(statistic_of(table, column="x", within_seed=statistic))


def test_rows_may_be_told_by_relations() -> None:
    table = pd.DataFrame({"n": [1, 2, 3, 4], "phase": ["A", "B", "B", "B"], "x": [1.0, 2, 4, 8]})
    for where, expected in (
        ({"n": {"at_least": 3}}, 6),
        ({"n": {"greater_than": 1, "less_than": 4}}, 3),
        ({"n": {"at_most": 2}, "phase": "B"}, 2),
        ({"n": {"equal_to": 4}}, 8),
    ):
        assert statistic_of(table, column="x", where=where) == expected
    # A relation that no row has is nothing to measure, and not a setting that is missing.
    assert math.isnan(statistic_of(table, column="x", where={"n": {"at_least": 9}}))


def test_what_a_run_does_need_not_occur() -> None:
    table = pd.DataFrame(
        {"is_done": [False], "phase": ["A"], "optimiser.name": ["sgd"], "x": [1.0]}
    )
    for where in ({"is_done": True}, {"phase": "B"}):
        assert math.isnan(statistic_of(table, column="x", where=where))
    with pytest.raises(NotMeasurableError, match=r"no rows with optimiser\.name adam"):
        statistic_of(table, column="x", where={"optimiser.name": "adam"})
    # Where an overlay drops a sweep, no run is told apart by it.
    for where in ({"parent.at.factor": 1.03}, {"parent.at.factor": {"at_least": 1}}):
        with pytest.raises(NotMeasurableError, match=r"no rows with parent\.at\.factor"):
            statistic_of(table, column="x", where=where)


def test_a_setting_counts_as_there_whichever_comes_first() -> None:
    table = pd.DataFrame({"run": [0, 0], "phase": ["none", "none"], "x": [1.0, 2.0]})
    for where in ({"phase": "B", "run": 0}, {"run": 0, "phase": "B"}):
        assert math.isnan(statistic_of(table, column="x", where=where))


@pytest.mark.parametrize("where", [{"rate": 0.3}, {"done": False, "rate": 0.3}])
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
    found = ratio_of(table, column="x", within_seed=statistic, over=over, under=under)
    assert found == pytest.approx(expected)


def test_conditions_on_all_rows_hold_for_both_groups() -> None:
    table = pd.DataFrame({"label": ["a", "a", "b", "b"], "n": [0, 1, 0, 1], "x": [9.0, 3, 9, 4]})
    over, under = {"label": "a"}, {"label": "b"}
    assert ratio_of(table, column="x", where={"n": 1}, over=over, under=under) == 0.75
    assert ratio_of(table, column="x", last_fraction=0.5, over=over, under=under) == 0.75


def test_a_difference_of_two_settings() -> None:
    table = pd.DataFrame({"label": ["a", "b", "b", "a"], "x": [3.0, 4, 8, 12]})
    plus, minus = {"label": "a"}, {"label": "b"}
    assert statistic_of(table, column="x", plus=plus, minus=minus) == 7.5 - 6
    assert statistic_of(table, column="x", plus=minus, minus=plus, within_seed="maximum") == -4
    nothing = {"label": "c"}
    assert math.isnan(statistic_of(table, column="x", plus=plus, minus=nothing))


RISING = pd.DataFrame({"rate": [4.0, 1.0, 2.0], "x": [16.0, 1.0, 4.0], "y": [1.0, 5.0, 2.0]})


@pytest.mark.parametrize(
    ("column", "statistic", "expected"),
    [
        ("x", "kendall", 1),
        ("y", "kendall", -1),
        ("x", "spearman", 1),
        ("x", "log_slope", 2),
    ],
)
def test_a_trend_against_another_column(column: str, statistic: str, expected: float) -> None:
    found = statistic_of(RISING, column=column, against="rate", within_seed=statistic)
    assert found == pytest.approx(expected)


def test_kendalls_tau_counts_pairs() -> None:
    table = pd.DataFrame({"rate": [1.0, 2, 3, 4], "x": [1.0, 3, 2, 4]})
    found = statistic_of(table, column="x", against="rate", within_seed="kendall")
    assert found == pytest.approx((5 - 1) / 6)


def thousandths(value: float) -> int:
    return round(1000 * value)


@given(
    st.lists(st.floats(0.1, 10), min_size=2, max_size=8, unique_by=thousandths), st.floats(-3, 3)
)
def test_the_slope_of_a_power_law_is_its_exponent(x: list[float], power: float) -> None:
    table = pd.DataFrame({"x": x, "y": [3 * one**power for one in x]})
    found = statistic_of(table, column="y", against="x", within_seed="log_slope")
    assert found == pytest.approx(power, abs=1e-6)


@pytest.mark.parametrize("statistic", ["kendall", "spearman", "log_slope"])
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({"rate": [1.0], "x": [1.0]}, id="one row"),
        pytest.param({"rate": [2.0, 2.0], "x": [1.0, 3.0]}, id="one rate"),
        pytest.param({"rate": [1.0, 2.0], "x": [1.0, math.nan]}, id="not finite"),
    ],
)
def test_a_trend_of_too_little_is_nothing(statistic: str, rows: dict[str, Any]) -> None:
    table = pd.DataFrame(rows)
    assert math.isnan(statistic_of(table, column="x", against="rate", within_seed=statistic))


def test_rates_whose_logarithms_are_equal_have_no_slope() -> None:
    rates = [15.0, math.nextafter(15, 16)]
    assert rates[0] != rates[1]
    assert math.log(rates[0]) == math.log(rates[1])
    table = pd.DataFrame({"rate": rates, "x": [1.0, 3.0]})
    assert math.isnan(statistic_of(table, column="x", against="rate", within_seed="log_slope"))


def test_a_slope_of_logarithms_needs_positive_values() -> None:
    table = pd.DataFrame({"rate": [1.0, 2.0], "x": [0.0, 1.0]})
    assert math.isnan(statistic_of(table, column="x", against="rate", within_seed="log_slope"))


def border_of(table: pd.DataFrame, within_seed: str = "first", **border: float) -> float:
    """Where along "norm" the column "loss" begins to meet the relations."""
    given = {"column": "loss", "against": "norm", "border": border, "within_seed": within_seed}
    return statistic_of(table, **given)


def grid(**losses: list[float]) -> pd.DataFrame:
    """Losses at the norms 1, 2, 8, 32 and 128, in another order."""
    table = pd.DataFrame({"norm": [1.0, 2, 8, 32, 128], "loss": losses["losses"]})
    return table.iloc[[3, 0, 4, 2, 1]]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([3, 2, 2, 0.1, 0], 16, id="between 8 and 32"),
        pytest.param([3, 0, 0, 0.1, 0], math.sqrt(2), id="at the first step"),
        pytest.param([3, 2, 2, 2, 0], 64, id="at the last step"),
        pytest.param([3, 0, 2, 0.1, 0], 16, id="it holds before, but not always after"),
        pytest.param([0, 0, 0, 0.1, 0], math.nan, id="everywhere"),
        pytest.param([3, 2, 2, 2, 2], math.nan, id="nowhere"),
        pytest.param([3, 2, 0, 0, 2], math.nan, id="not at the end"),
        pytest.param([3, 2, math.nan, 0.1, 0], math.nan, id="not finite"),
        pytest.param([3, 2, math.inf, 0.1, 0], math.nan, id="infinite"),
    ],
)
def test_a_border_is_where_a_condition_begins_to_hold(losses: list[float], expected: float) -> None:
    assert border_of(grid(losses=losses), at_most=0.5) == pytest.approx(expected, nan_ok=True)


def test_a_border_may_be_that_of_several_relations() -> None:
    table = grid(losses=[3, 0.4, 0.2, 0.1, 0.2])
    assert border_of(table, at_most=0.5, at_least=0.1) == pytest.approx(math.sqrt(2))
    assert border_of(table, less_than=0.4, at_least=0.1) == pytest.approx(4)


def test_a_border_is_that_of_a_statistic_at_each_value() -> None:
    table = pd.DataFrame({"norm": [4.0, 1.0, 4.0, 1.0, 1.0], "loss": [0.0, 3.0, 2.0, 0.0, 0.0]})
    assert math.isnan(border_of(table, "mean", less_than=1.1))  # 1 at both
    assert border_of(table, "median", at_least=0.5) == 2
    assert math.isnan(border_of(table, "maximum", at_least=0.5))
    only = {"column": "loss", "against": "norm", "within_seed": "last", "border": {"at_least": 1}}
    assert statistic_of(table.assign(n=[1, 1, 2, 2, 1]), where={"n": 2}, **only) == 2


@pytest.mark.parametrize(
    "norms", [[0.0, 1.0], [-1.0, 1.0], [math.nan, 1.0], [1.0], [1.0, 1.0], [], [1.0, math.inf]]
)
def test_a_border_needs_a_grid_of_positive_numbers(norms: list[float]) -> None:
    losses = [3.0, 0.0][: len(norms)]
    table = pd.DataFrame({"norm": norms, "loss": losses}, dtype=float)
    assert math.isnan(border_of(table, at_most=0.5))


@pytest.mark.parametrize("bad", [0.0, math.nan, None])
def test_a_ratio_to_nothing_is_nothing(bad: float | None) -> None:
    rows = [("a", 1.0)] if bad is None else [("a", 1.0), ("b", bad)]
    table = pd.DataFrame(rows, columns=["label", "x"])
    over, under = {"label": "a"}, {"label": "b"}
    assert math.isnan(ratio_of(table, column="x", over=over, under=under))


def test_nothing_is_measured_on_no_rows() -> None:
    for statistic in STATISTICS:
        empty = pd.DataFrame({"x": pd.Series([], dtype=float)})
        assert math.isnan(statistic_of(empty, column="x", within_seed=statistic))


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


def test_a_rate_that_no_run_has_is_an_error() -> None:
    with pytest.raises(NotMeasurableError, match=r"learning rate 0\.2$"):
        destabilisations.count(RUNS, learning_rates=[0.1, 0.2], statistic="maximum")


# Similarity


def test_similarities_are_those_of_minima() -> None:
    table = table_of_similarity(inside=0.9, cosines=(0.7, 0.5))
    # Of the nine minima after the anchor, from 0.9889 down to 0.9.
    assert similarity_within_period(table) == pytest.approx(0.9 + 0.1 * 4 / 9)
    assert similarity_in_last_period(table) == pytest.approx(0.5)
    assert similarity_excess(table, period=1) == pytest.approx(0.69)
    assert similarity_trend(table) == pytest.approx(-1)
    # What happens between the minima does not matter.
    table.loc[table["phase"] != "B", "cosine_similarity"] = math.nan
    assert similarity_in_last_period(table) == pytest.approx(0.5)


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
    table = table_of_similarity(cosines=cosines)
    assert similarity_trend(table) == pytest.approx(expected, nan_ok=True)


def test_the_anchor_alone_is_no_period_to_be_measured() -> None:
    """With itself it has a similarity of one, which says nothing."""
    table = table_of_similarity()
    table = table[(table["period"] > 0) | (table["epoch"] == table["anchor_epoch"])]
    assert math.isnan(similarity_within_period(table))


def test_without_a_later_period_there_is_no_last_one() -> None:
    table = table_of_similarity(cosines=())
    assert math.isnan(similarity_in_last_period(table))
    assert math.isnan(similarity_excess(table, period=1))


def test_without_minima_there_is_nothing_to_measure() -> None:
    table = table_of_similarity().assign(phase="start", minimum=False)
    for found in (
        similarity_within_period(table),
        similarity_in_last_period(table),
        similarity_trend(table),
        similarity_excess(table, period=0),
    ):
        assert math.isnan(found)


# Runs of one sweep

ROWS = pd.DataFrame(
    {
        "run": range(5),
        "rate": [0.1, 0.2, 0.3, 0.4, 0.5],
        "stopped": [False, False, False, False, True],
        "error": [0.05, 0.02, 0.02, 0.4, math.nan],
        "periods": [0, 4, 3, 1, 2],
        "lowest_train_loss": [0.01, 0.002, 0.0, 0.4, math.nan],
    }
)


def test_a_column_where_another_is_lowest() -> None:
    given = {"column": "periods", "lowest": "error"}
    assert column_at_lowest(ROWS, **given, where={}) == 3, "the smaller one of equally good runs"
    assert column_at_lowest(ROWS, **given, where={"rate": {"at_least": 0.4}}) == 1
    assert math.isnan(column_at_lowest(ROWS, **given, where={"rate": 0.5}))
    with pytest.raises(NotMeasurableError):
        column_at_lowest(ROWS, **given, where={"rate": 0.6})
    with pytest.raises(KeyError):
        column_at_lowest(ROWS, column="periods", lowest="loss", where={})


@pytest.mark.parametrize(
    ("over", "under", "expected"),
    [
        (0.4, 0.1, 40),
        (0.5, 0.1, math.inf),
        (0.1, 0.5, math.nan),
        (0.5, 0.5, math.nan),
        (0.1, 0.3, math.nan),
    ],
)
def test_the_ratio_of_train_losses(over: float, under: float, expected: float) -> None:
    found = train_loss_ratio(ROWS, over={"rate": over}, under={"rate": under})
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_ratio_of_train_losses_is_that_of_two_runs() -> None:
    with pytest.raises(PerigeeError, match="2 runs"):
        train_loss_ratio(ROWS, over={"rate": {"at_least": 0.4}}, under={"rate": 0.1})
