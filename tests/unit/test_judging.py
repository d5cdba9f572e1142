"""perigee.claims.judging: from tables to one number a seed, to verdicts and their table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee import registry
from perigee.claims.columns import Ratio
from perigee.claims.inference import two_way_interval
from perigee.claims.judging import judgements, measure
from perigee.claims.outcomes import (
    COLUMNS,
    CONTRADICTED,
    HOLDS,
    INCONCLUSIVE,
    NOT_TESTABLE,
    NOTHING,
    REPRODUCED,
    VIOLATED,
    apart,
    headline,
    reproduced_on_the_border,
)
from perigee.claims.relations import RELATIONS, number, shown
from perigee.claims.rows import NotMeasurableError
from perigee.claims.verdicts import fulfils, judge
from perigee.errors import PerigeeError
from perigee.spec import Claim, Expectation
from perigee.store.claims import with_prose
from support.synthetic_tables import Periodic, table_of_runs

COLUMN = {"name": "column", "column": "x"}


def claim(
    relation: str = "at_least",
    bound: float = 2,
    *,
    kind: str = "rate",
    quantity: dict[str, Any] | None = None,
    within_seed: str | None = "maximum",
    testable: bool = True,
    **given: Any,
) -> Claim:
    """A claim, by default on the largest value of column x, as a rate."""
    return Claim(
        name="grows",
        says="It grows.",
        source="Someone 2020, Figure 1",
        kind=kind,
        unit="epoch",
        table="numbers",
        quantity=registry.make("quantity", COLUMN if quantity is None else quantity),  # type: ignore[arg-type]
        within_seed=within_seed,
        relation=relation,
        bound=bound,
        testable=testable,
        **given,
    )


def premise(relation: str = "at_least", bound: float = 1, table: str = "numbers") -> Expectation:
    quantity: Any = registry.make("quantity", {"name": "column", "column": "n"})
    return Expectation(
        table=table, quantity=quantity, within_seed="first", relation=relation, bound=bound
    )


NEXT_UP = math.nextafter(2, 3)
NEXT_DOWN = math.nextafter(2, 1)
AROUND = (-math.inf, NEXT_DOWN, 2.0, NEXT_UP, math.inf, math.nan)


@pytest.mark.parametrize(
    ("relation", "below", "at", "above", "sign"),
    [
        ("at_least", False, True, True, "≥"),
        ("at_most", True, True, False, "≤"),
        ("greater_than", False, False, True, ">"),
        ("less_than", True, False, False, "<"),
        ("equal_to", False, True, False, "="),
        ("different_from", True, False, True, "≠"),
    ],
)
def test_relations(relation: str, below: bool, at: bool, above: bool, sign: str) -> None:
    rule = claim(relation)
    expected = (below, below, at, above, above, False)
    assert tuple(fulfils(rule, value) for value in AROUND) == expected
    (row,) = judgements("p", "fig1", [rule], {rule.table: pd.DataFrame({"x": [2.0]})}).to_dict(
        "records"
    )
    assert row["expected"] == f"{sign} 2"


# From one number a seed to a verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([5, 6, 7], REPRODUCED),
        ([5, 6, 1], INCONCLUSIVE),
        ([0, 1, 1], CONTRADICTED),
        ([5, 6], INCONCLUSIVE),
        ([0, 1], INCONCLUSIVE),
        ([5, 6, 7, 8, 9, 1], REPRODUCED),
        ([5, 6, 7, math.nan], REPRODUCED),
        ([5, 6, math.nan], INCONCLUSIVE),
        ([math.nan] * 3, NOTHING),
        ([], NOTHING),
    ],
)
def test_a_rate_counts_the_measured_seeds(values: list[float], verdict: str) -> None:
    assert judge(claim(), values).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([3.0, 3.1, 3.2], REPRODUCED),
        ([1.0, 1.1, 1.2], CONTRADICTED),
        ([0.0, 3.0, 6.0], INCONCLUSIVE),
        ([3.0, 3.1], INCONCLUSIVE),
        ([3.0, math.inf, 3.1], INCONCLUSIVE),
        ([math.nan, math.nan], NOTHING),
    ],
)
def test_a_mean_asks_for_the_whole_interval(values: list[float], verdict: str) -> None:
    assert judge(claim(kind="mean"), values).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.9, 2.0, 2.1], REPRODUCED),
        ([3.0, 3.01, 3.02], CONTRADICTED),
        ([1.0, 1.01, 1.02], CONTRADICTED),
        ([0.0, 2.0, 4.0], INCONCLUSIVE),  # not different from 2 is not the same as equal to it
        ([2.0, 2.0], INCONCLUSIVE),
    ],
)
def test_an_equivalence_asks_for_the_whole_interval_within_the_margin(
    values: list[float], verdict: str
) -> None:
    rule = claim("equal_to", kind="equivalent", margin=0.5)
    assert judge(rule, values).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([3.0, 3.01, 3.02], REPRODUCED),
        ([1.0, 1.01, 1.02], REPRODUCED),
        ([1.9, 2.0, 2.1], CONTRADICTED),
        ([0.0, 2.0, 4.0], INCONCLUSIVE),  # its ends differ from 2, to either side
        ([2.3, 2.6, 2.9], INCONCLUSIVE),
        ([3.0, 3.0], INCONCLUSIVE),
    ],
)
def test_a_difference_asks_for_the_whole_interval_on_one_side_of_the_margin(
    values: list[float], verdict: str
) -> None:
    rule = claim("different_from", kind="different", margin=0.5)
    assert judge(rule, values).verdict == verdict


def test_a_difference_of_ratios_is_by_a_factor() -> None:
    rule = claim("different_from", 1, kind="different", margin=2, quantity=TWO)
    for value, expected in ((0.5, False), (2.0, False), (0.49, True), (2.01, True)):
        assert fulfils(rule, value) is expected
    assert not fulfils(rule, math.nan)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1e-13, math.nan], HOLDS),
        ([1e-13, 1.0, 1e-13], VIOLATED),
        ([math.nan], NOTHING),
        ([1e-13], HOLDS),
    ],
)
def test_an_identity_holds_everywhere_or_is_violated(values: list[float], verdict: str) -> None:
    rule = claim("at_most", 1e-12, kind="identity")
    assert judge(rule, values).verdict == verdict


TREND = COLUMN | {"against": "rate"}


def test_a_trend_of_ranks_is_a_rate_and_a_slope_a_mean() -> None:
    ranks = claim("less_than", 0, kind="trend", quantity=TREND, within_seed="kendall")
    assert judge(ranks, [-1.0, -0.1, -0.2]).verdict == REPRODUCED
    assert judge(ranks, [-1.0, -1.0, 1.0]).verdict == INCONCLUSIVE
    slope = claim("less_than", 0, kind="trend", quantity=TREND, within_seed="log_slope")
    assert judge(slope, [-1.0, -1.0, 0.9]).verdict == INCONCLUSIVE
    assert judge(slope, [-1.0, -0.9, -1.1]).verdict == REPRODUCED


TWO = COLUMN | {"over": {"phase": "B"}, "under": {"phase": "A"}}


def test_means_of_ratios_are_those_of_their_logarithms() -> None:
    rule = claim("greater_than", 1, kind="mean", quantity=TWO)
    ratios = [Ratio(2.0, 1.0), Ratio(8.0, 1.0), Ratio(4.0, 1.0)]
    found = judge(rule, ratios)
    assert found.estimate == pytest.approx(4)
    assert found.low * found.high == pytest.approx(16), "as far from 4 on either side, as factors"
    # A ratio to nothing, and one without a logarithm, are missing.
    found = judge(rule, [*ratios, Ratio(1.0, 0.0), Ratio(0.0, 1.0)])
    assert (found.measured, found.estimate) == (3, pytest.approx(4))


def test_means_of_borders_are_those_of_their_logarithms() -> None:
    border = TREND | {"border": {"at_most": 0.05}}
    found = judge(claim("less_than", 50, kind="mean", quantity=border), [2.0, 8.0, 4.0, math.nan])
    assert (found.measured, found.estimate) == (3, pytest.approx(4))
    rule = claim("equal_to", 4, kind="equivalent", margin=2, quantity=border)
    assert fulfils(rule, 2.0)
    assert not fulfils(rule, 1.9)


def test_the_margin_of_a_ratio_is_a_factor() -> None:
    rule = claim("equal_to", 1, kind="equivalent", margin=2, quantity=TWO)
    for value, expected in ((0.5, True), (2.0, True), (0.49, False), (2.01, False)):
        assert fulfils(rule, value) is expected
    assert judge(rule, [Ratio(1.1, 1.0), Ratio(1.0, 1.0), Ratio(0.9, 1.0)]).verdict == REPRODUCED


def test_a_pooled_ratio_weighs_seeds_by_their_denominators() -> None:
    rule = claim("greater_than", 0.8, kind="mean", pooled=True, quantity=TWO)
    ratios = [Ratio(9.0, 10.0), Ratio(0.0, 0.0), Ratio(9.5, 10.0), Ratio(0.1, 1.0), Ratio(9.3, 10)]
    found = judge(rule, ratios)
    assert found.estimate == pytest.approx((9 + 9.5 + 0.1 + 9.3) / 31)
    assert found.measured == 5


KINDS: dict[str, Claim] = {
    "rate": claim(),
    "mean": claim(kind="mean"),
    "equivalent": claim("equal_to", kind="equivalent", margin=1),
    "different": claim("different_from", kind="different", margin=1),
    "trend": claim(kind="trend", quantity=TREND, within_seed="kendall"),
    "slope": claim(kind="trend", quantity=TREND, within_seed="log_slope"),
    "identity": claim(kind="identity"),
    "ratio": claim(kind="mean", quantity=TWO),
    "pooled": claim(kind="mean", quantity=TWO, pooled=True),
}


def numbers_of(kind: str, values: list[float]) -> list[float | Ratio]:
    is_ratio = kind in ("ratio", "pooled")
    return [Ratio(one, 1.0) for one in values] if is_ratio else list(values)


finite = st.lists(st.floats(0.1, 10), max_size=7)


@pytest.mark.parametrize("kind", KINDS)
@given(values=finite, missing=st.integers(0, 3), data=st.data())
def test_a_missing_value_changes_nothing(
    kind: str, values: list[float], missing: int, data: Any
) -> None:
    """It is neither for nor against a claim, wherever it stands."""
    if kind == "pooled":
        values = values[:3]  # whose resamples are few
    holes = data.draw(st.permutations([*values, *[math.nan] * missing]))
    ordered = [value for value in holes if not math.isnan(value)]
    found, expected = (judge(KINDS[kind], numbers_of(kind, one)) for one in (holes, ordered))
    assert repr(found) == repr(expected)  # NaN is not equal to itself
    assert found.measured == len(values)


@pytest.mark.parametrize("kind", KINDS)
@given(values=st.lists(st.floats(0.1, 10), min_size=1, max_size=5))
def test_the_order_of_seeds_does_not_matter(kind: str, values: list[float]) -> None:
    if kind == "pooled":
        return  # whose draws are of places in the order
    one, other = (judge(KINDS[kind], numbers_of(kind, v)) for v in (values, values[::-1]))
    assert one.estimate == pytest.approx(other.estimate)
    assert one.fulfilled == other.fulfilled
    near = min(abs(end - 2) for end in (one.low, one.high, 0.0) if math.isfinite(end))
    assert one.verdict == other.verdict or near < 1e-9


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "identity"])
@given(values=st.lists(st.floats(0.1, 10), min_size=1, max_size=2))
def test_two_seeds_decide_nothing(kind: str, values: list[float]) -> None:
    assert judge(KINDS[kind], numbers_of(kind, values)).verdict == INCONCLUSIVE


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=8), st.floats(0.1, 10))
def test_opposite_rules_are_never_both_reproduced(values: list[float], bound: float) -> None:
    for kind in ("rate", "mean"):
        pair = [
            judge(claim(relation, bound, kind=kind), values).verdict
            for relation in ("at_least", "less_than")
        ]
        mirrored = {
            REPRODUCED: CONTRADICTED,
            CONTRADICTED: REPRODUCED,
            INCONCLUSIVE: INCONCLUSIVE,
        }
        assert pair[1] == mirrored[pair[0]]


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=8), st.floats(0.01, 5))
def test_what_is_equal_within_a_margin_is_equal_within_a_larger_one(
    values: list[float], margin: float
) -> None:
    narrow, wide = (
        judge(claim("equal_to", 0, kind="equivalent", margin=one), values).verdict
        for one in (margin, 2 * margin)
    )
    assert not (narrow == REPRODUCED and wide != REPRODUCED)
    assert not (wide == CONTRADICTED and narrow != CONTRADICTED)


# One number a seed


def test_runs_with_and_without_a_swept_seed_are_not_mixed() -> None:
    table = pd.DataFrame({"seed": [0, math.nan], "x": [1e-13, 1.0]})
    with pytest.raises(PerigeeError, match="with and without a swept seed"):
        measure("grows", claim(), table)


def test_a_quantity_is_measured_seed_by_seed() -> None:
    table = pd.DataFrame({"seed": [3, 3, 1, 1], "x": [1.0, 4.0, 2.0, 0.5]})
    assert measure("grows", claim(), table) == {"1": 2.0, "3": 4.0}
    assert measure("grows", claim(), table.drop(columns="seed")) == {"": 4.0}
    others = table.rename(columns={"seed": "start"})
    assert measure("grows", claim(), others, "start") == {"1": 2.0, "3": 4.0}


def test_runs_of_one_seed_are_measured_together() -> None:
    table = table_of_runs({0.1: Periodic([1.0] * 2), 0.3: Periodic([1.0] * 5)}, seeds=(4, 7))
    named = {"name": "destabilisation_count", "learning_rates": [0.3, 0.1], "statistic": "minimum"}
    fewest = claim(quantity=named, within_seed=None)
    assert measure("grows", fewest, table) == {"4": 2, "7": 2}


def test_a_missing_column_is_told_with_claim_quantity_and_table() -> None:
    table = pd.DataFrame({"seed": [0, 1], "y": [1.0, 2.0]})
    for attempt in (
        lambda: measure("grows", claim(), table),
        lambda: judgements("mine", "fig1", [claim()], {"numbers": table}),
    ):
        with pytest.raises(PerigeeError) as caught:
            attempt()
        for told in ("'grows'", "'maximum of x'", "'x'", "'numbers'"):
            assert told in str(caught.value)
        assert not isinstance(caught.value, NotMeasurableError)


# The table of verdicts


def judged(table: pd.DataFrame, rule: Claim, **more: Any) -> dict[str, str]:
    (row,) = judgements("mine", "fig1", [rule], {"numbers": table}, **more).to_dict("records")
    return row


def test_a_row_tells_the_claim_and_its_outcome() -> None:
    table = pd.DataFrame({"seed": [10, 11, 12], "x": [5.0, 2.0, 1 / 3], "phase": "B"})
    assert list(judged(table, claim()).items()) == [
        ("paper", "mine"),
        ("figure", "fig1"),
        ("claim", "grows"),
        ("kind", "rate"),
        ("quantity", "maximum of x"),
        ("unit", "epoch"),
        ("expected", "≥ 2"),
        ("estimate", "2"),
        ("interval", "p 0.2355 to 0.9376"),
        ("fulfilled", "2/3"),
        ("measured_seeds", "3 of 3 (10: 5; 11: 2; 12: 0.3333)"),
        ("premise", ""),
        ("verdict", "inconclusive"),
        ("seen", ""),
        ("locked", ""),
        ("source", ""),
    ]
    assert tuple(judged(table, claim())) == COLUMNS


@pytest.mark.parametrize(
    ("quantity", "statistic", "told"),
    [
        (
            {"where": {"phase": "B", "n": {"at_least": 2}}, "last_fraction": 0.5},
            "median",
            "median of x where phase B and n ≥ 2, last 0.5",
        ),
        (
            {"over": {"label": "free"}, "under": {"label": "fixed"}},
            "mean",
            "mean of x, label free over label fixed",
        ),
        (
            {"plus": {"label": "free"}, "minus": {}, "where": {"phase": "B"}},
            "mean",
            "mean of x, label free minus all where phase B",
        ),
        ({"against": "rate"}, "kendall", "kendall of x against rate"),
        (
            {"against": "rate", "border": {"at_most": 0.05}, "where": {"phase": "B"}},
            "median",
            "rate from which on median of x ≤ 0.05 where phase B",
        ),
    ],
)
def test_a_quantity_in_words(quantity: dict[str, Any], statistic: str, told: str) -> None:
    table = pd.DataFrame({"phase": ["B"] * 4, "n": 2, "rate": [1.0, 2, 1, 2], "x": 1.0})
    table["label"] = ["free", "fixed"] * 2
    rule = claim(quantity={**COLUMN, **quantity}, within_seed=statistic)
    assert judged(table, rule)["quantity"] == told
    if "over" in quantity:
        pooled = replace(rule, pooled=True, kind="mean")
        assert judged(table, pooled)["quantity"] == f"pooled {told}"


def test_a_margin_in_words() -> None:
    table = pd.DataFrame({"seed": [1, 2, 3], "x": 1.0, "phase": "B"})
    rule = claim("equal_to", 1, kind="equivalent", margin=0.25)
    assert judged(table, rule)["expected"] == "= 1 ± 0.25"
    factor = replace(rule, quantity=registry.make("quantity", TWO), margin=2.0)  # type: ignore[arg-type]
    assert judged(table, factor)["expected"] == "= 1 within a factor of 2"


def test_seeds_that_are_too_few_are_told() -> None:
    row = judged(pd.DataFrame({"seed": [10, 11], "x": 5.0}), claim())
    assert row["verdict"] == INCONCLUSIVE
    assert row["measured_seeds"] == "2 of 2, and 3 are needed (10: 5; 11: 5)"
    without = judged(pd.DataFrame({"x": [5.0]}), claim())
    assert without["verdict"] == INCONCLUSIVE
    assert without["measured_seeds"] == "no seeds, and 3 are needed"
    identity = judged(pd.DataFrame({"x": [5.0]}), claim(kind="identity"))
    assert (identity["verdict"], identity["measured_seeds"]) == (HOLDS, "")


def test_many_seeds_are_counted_and_not_listed() -> None:
    table = pd.DataFrame({"seed": range(100), "x": 5.0})
    assert judged(table, claim())["measured_seeds"] == "100 of 100"


@pytest.mark.parametrize(
    ("seeds", "verdict", "told"),
    [
        ([10], NOTHING, "0 of 1, and 3 are needed (10: nothing)"),
        ([10, 11, 12], INCONCLUSIVE, "1 of 3, and 3 are needed (10: nothing; 11: nothing; 12: 4)"),
    ],
)
def test_nothing_to_measure_is_told_and_is_not_a_failure(
    seeds: list[int], verdict: str, told: str
) -> None:
    table = pd.DataFrame(
        {"seed": seeds, "x": 4.0, "phase": ["B" if seed == 12 else "none" for seed in seeds]}
    )
    row = judged(table, claim(quantity=COLUMN | {"where": {"phase": "B"}}))
    assert row["measured_seeds"] == told
    assert row["verdict"] == verdict
    assert row["fulfilled"] == ("1/1" if len(seeds) == 3 else "0/0")


def test_a_seed_without_a_row_has_nothing_to_measure() -> None:
    """Such as one without an event in a table with a row for each."""
    table = pd.DataFrame({"seed": [10, 12, 13], "x": 5.0})
    row = judged(table, claim(), seeds={"numbers": [10, 11, 12, 13]})
    assert row["measured_seeds"] == "3 of 4 (10: 5; 11: nothing; 12: 5; 13: 5)"
    assert row["verdict"] == REPRODUCED


def test_seeds_that_do_not_meet_the_premise_do_not_count() -> None:
    table = pd.DataFrame({"seed": [10, 11, 12, 13], "n": [1, 1, 1, 0], "x": [5.0, 5, 5, 0]})
    rule = claim(given=premise())
    row = judged(table, rule)
    assert row["verdict"] == REPRODUCED
    assert row["premise"] == "3 of 4: first of n ≥ 1"
    assert row["measured_seeds"].endswith("13: 0 without the premise)")
    row = judged(table.assign(n=0), rule)
    assert (row["verdict"], row["fulfilled"], row["premise"]) == (
        NOTHING,
        "0/0",
        "0 of 4: first of n ≥ 1",
    )
    # One that cannot be measured is not met.
    assert judged(table.assign(n=math.nan), rule)["verdict"] == NOTHING


@given(
    st.lists(
        st.tuples(st.floats(0, 4), st.sampled_from([0.0, 1.0, math.nan])), min_size=1, max_size=9
    )
)
def test_a_premise_leaves_the_verdict_on_the_seeds_that_meet_it(
    rows: list[tuple[float, float]],
) -> None:
    table = pd.DataFrame(
        {
            "seed": range(len(rows)),
            "x": [x for x, _ in rows],
            "n": [n for _, n in rows],
        }
    )
    found = judged(table, claim(given=premise()))
    assert found["verdict"] == judge(claim(), [x for x, n in rows if n == 1]).verdict


def test_a_premise_may_be_measured_on_another_table() -> None:
    rule = claim(given=premise(table="others"))
    numbers = pd.DataFrame({"seed": [1, 2, 3], "x": 5.0})
    others = pd.DataFrame({"seed": [1, 2], "n": 1})
    row = judgements("p", "f", [rule], {"numbers": numbers, "others": others}).to_dict("records")[0]
    assert row["premise"].startswith("2 of 3: ")
    assert row["verdict"] == INCONCLUSIVE
    formula = pd.DataFrame({"n": [1]})  # which has no seeds, and holds for all
    row = judgements("p", "f", [rule], {"numbers": numbers, "others": formula}).to_dict("records")[
        0
    ]
    assert row["verdict"] == REPRODUCED


@pytest.mark.parametrize("testable", [True, False])
def test_runs_that_there_are_not_are_no_verdict(testable: bool) -> None:
    table = table_of_runs({0.1: Periodic([1.0] * 2)}, seeds=(0, 1))
    named = {
        "name": "destabilisation_count",
        "learning_rates": [0.1, 0.2],
        "statistic": "minimum",
    }
    row = judged(table, claim(testable=testable, quantity=named, within_seed=None))
    assert row["estimate"] == "no run with learning rate 0.2"
    assert row["measured_seeds"] == ""
    assert row["verdict"] == NOT_TESTABLE


@pytest.mark.parametrize("value", [1.0, 3.0, math.nan])
def test_what_the_scale_does_not_allow_is_measured_all_the_same(value: float) -> None:
    row = judged(pd.DataFrame({"seed": [10], "x": [value]}), claim(testable=False))
    assert row["verdict"] == NOT_TESTABLE
    assert row["estimate"] == ("nothing" if math.isnan(value) else f"{value:g}")


def test_prose_is_added_where_verdicts_are_published() -> None:
    rules = [
        replace(claim(), seen="seeds 0", locked="2026-01-31, 0.1.0"),
        replace(claim(), name="other", says="It shrinks.", source="Figure 2"),
    ]
    found = judgements("mine", "fig1", rules, {"numbers": pd.DataFrame({"x": [2.0]})})
    told = with_prose(found, {rule.name: rule.prose for rule in reversed(rules)})
    assert list(told.columns) == list(COLUMNS)
    assert told["claim"].tolist() == ["It grows.", "It shrinks."]
    assert told["source"].tolist() == ["Someone 2020, Figure 1", "Figure 2"]
    assert told["seen"].tolist() == ["seeds 0", ""]
    assert told["locked"].tolist() == ["2026-01-31, 0.1.0", ""]
    assert found["claim"].tolist() == ["grows", "other"]
    others = ["claim", "source", "seen", "locked"]
    pd.testing.assert_frame_equal(told.drop(columns=others), found.drop(columns=others))


def test_claims_keep_their_order_and_their_tables() -> None:
    rules = [claim("at_least", bound, kind="identity") for bound in (3, 1, 2)]
    found = judgements("mine", "fig1", rules, {"numbers": pd.DataFrame({"x": [2.0]})})
    assert found["expected"].tolist() == ["≥ 3", "≥ 1", "≥ 2"]
    assert found["verdict"].tolist() == [VIOLATED, HOLDS, HOLDS]
    assert found["estimate"].tolist() == ["2"] * 3
    nothing = judgements("mine", "fig1", [], {})
    assert nothing.empty
    assert list(nothing.columns) == list(found.columns)


def test_identities_are_counted_apart() -> None:
    kinds = ["rate", "mean", "identity", "rate", "identity", "trend"]
    verdicts = [REPRODUCED, NOTHING, HOLDS, INCONCLUSIVE, VIOLATED, NOT_TESTABLE]
    rows = [
        {"kind": kind, "verdict": one, "fulfilled": "1/3", "interval": ""}
        for kind, one in zip(kinds, verdicts, strict=True)
    ]
    empirical, identities = apart(rows)
    assert (len(empirical), len(identities)) == (4, 2)
    assert headline(rows) == (
        "Of 4 empirical claims: 1 reproduced, 0 contradicted, 1 inconclusive, "
        "1 nothing to measure, 1 not testable at this scale. Of 2 identities: 1 holds, 1 violated."
    )
    assert headline([]) == "No claims."


def test_the_headline_tells_how_many_would_be_reproduced_on_the_border_of_their_rules() -> None:
    def rows(kind: str, seeds: int, count: int = 1, **given: str) -> list[Any]:
        row = {"kind": kind, "verdict": INCONCLUSIVE, "fulfilled": f"2/{seeds}", "interval": ""}
        return count * [row | given]

    # All of 3 seeds, 7 or 8 of 8, 5 or 6 of 6; none of 2 can be proof.
    assert reproduced_on_the_border(rows("rate", 3)) == pytest.approx(1 / 8)
    assert reproduced_on_the_border(rows("rate", 8)) == pytest.approx((8 + 1) / 2**8)
    ranks = rows("trend", 6, interval="p 0.2 to 0.8")
    assert reproduced_on_the_border(ranks) == pytest.approx((6 + 1) / 2**6)
    assert reproduced_on_the_border(rows("trend", 6, interval="-1.2 to 0.1")) == pytest.approx(0.05)
    assert reproduced_on_the_border(rows("mean", 3, 3)) == pytest.approx(0.15)
    for kind in ("rate", "mean", "equivalent"):
        assert reproduced_on_the_border(rows(kind, 2)) == 0
        assert reproduced_on_the_border(rows(kind, 3, verdict=NOT_TESTABLE)) == 0
    told = headline([*rows("rate", 3, 8), *rows("mean", 3, 20), *rows("mean", 2)])
    assert told.endswith(
        "Were each of the 29 that were judged on the border of its rule, about 2 would be called "
        "reproduced."
    )
    assert "border" not in headline(rows("rate", 3, 3))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2, "2"),
        (0.123456, "0.1235"),
        (1.0e-12, "1e-12"),
        (float("nan"), "nothing"),
        ([0.1, 3], "[0.1, 3]"),
        ({"phase": "B", "rate": 0.30000001}, "phase B and rate 0.3"),
        ({"n": {"at_least": 2, "less_than": 5}}, "n ≥ 2 and < 5"),
        (True, "True"),
        ("B", "B"),
    ],
)
def test_values_as_text(value: Any, text: str) -> None:
    assert shown(value) == text


def test_relations_hold_of_arrays_and_nan_fulfils_none() -> None:
    values = np.array([1.0, math.nan])
    for relation in RELATIONS.values():
        assert not relation(values, 1.0)[1]


def test_a_claim_survives_json() -> None:
    rule = claim(
        "less_than",
        0.25,
        quantity=COLUMN | {"where": {"phase": "B", "run": 1, "n": {"at_least": 2}}},
        given=premise(),
        kind="mean",
    )
    assert Claim.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule
    unworded = Claim.from_dict(json.loads(json.dumps(rule.rule)))
    assert unworded == replace(rule, says="", source="")
    assert rule.to_dict()["quantity"]["name"] == "column"


# What seeds share


def table_of_shared(rng: np.random.Generator, seeds: int = 6, images: int = 40) -> pd.DataFrame:
    """Errors of two runs a seed at the same images; the first is lower by 0.2, about."""
    hard = rng.uniform(0, 1, images)
    rows = [
        (seed, label, image, hard[image] * rng.uniform(0.5, 1.5) - 0.2 * (label == "a"))
        for seed in range(seeds)
        for label in "ab"
        for image in rng.permutation(images)
    ]
    return pd.DataFrame(rows, columns=["seed", "label", "image", "x"])


GROUPS = ({"label": "a"}, {"label": "b"})
DIFFERENCE = COLUMN | dict(zip(("plus", "minus"), GROUPS, strict=True))
POOLED = COLUMN | dict(zip(("over", "under"), GROUPS, strict=True))


def matrix(table: pd.DataFrame, label: str) -> np.ndarray:
    """The errors of one of the runs, (seeds, images)."""
    found = np.zeros((table["seed"].nunique(), table["image"].nunique()))
    for row in table[table["label"] == label].itertuples():
        found[row.seed, row.image] = row.x
    return found


def test_a_mean_is_resampled_over_what_seeds_share() -> None:
    table = table_of_shared(np.random.default_rng(0))
    a, b = (matrix(table, label) for label in "ab")
    rule = claim("less_than", 0, kind="mean", quantity=DIFFERENCE, within_seed="mean")
    row = judged(table, replace(rule, shared="image"))
    value, low, high = two_way_interval(a - b)
    assert row["estimate"] == number(value) == number((a - b).mean())
    assert row["interval"] == f"{number(low)} to {number(high)}"
    assert row["verdict"] == REPRODUCED
    assert row["interval"] != judged(table, rule)["interval"]
    pooled = claim("less_than", 1, kind="mean", quantity=POOLED, within_seed="mean", pooled=True)
    row = judged(table, replace(pooled, shared="image"))
    value, low, high = two_way_interval(a, b)
    assert row["estimate"] == number(value) == number(a.sum() / b.sum())
    assert row["interval"] == f"{number(low)} to {number(high)}"


def test_seeds_that_are_missing_are_left_out_of_what_is_shared() -> None:
    table = table_of_shared(np.random.default_rng(1))
    rule = claim("less_than", 0, kind="mean", quantity=DIFFERENCE, within_seed="mean")
    rule = replace(rule, shared="image")
    # One seed has a value that is not finite, another one lacks a run.
    damaged = table.copy()
    damaged.loc[(table["seed"] == 2) & (table["image"] == 7), "x"] = math.nan
    damaged = damaged[(damaged["seed"] != 4) | (damaged["label"] == "b")]
    row = judged(damaged, rule)
    assert row["fulfilled"].endswith("/4")
    kept = [seed for seed in range(6) if seed not in (2, 4)]
    value, low, high = two_way_interval((matrix(table, "a") - matrix(table, "b"))[kept])
    assert row["estimate"] == number(value)
    assert row["interval"] == f"{number(low)} to {number(high)}"
    assert judged(table[table["label"] == "b"], rule)["verdict"] == NOTHING
    without = replace(rule, given=premise("at_least", 1))
    assert judged(table.assign(n=table["seed"] != 2), without)["fulfilled"].endswith("/5")
