"""perigee.claims.judging: from measured values to verdicts and their table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from perigee import registry
from perigee.claims.judging import (
    COLUMNS,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    _shown,
    fulfilled,
    judgements,
    measure,
    verdict,
)
from perigee.claims.rows import NotMeasurableError
from perigee.errors import PerigeeError
from perigee.spec import Claim
from perigee.store.claims import with_wording
from support.synthetic_tables import Periodic, table_of_runs

STATISTIC = {"column": "x", "statistic": "maximum"}


def claim(
    relation: str = "at_least",
    bound: float = 2,
    *,
    quantity: str = "column_statistic",
    testable: bool = True,
    **parameters: Any,
) -> Claim:
    """A claim, by default on the column x."""
    if quantity == "column_statistic":
        parameters = STATISTIC | parameters
    return Claim(
        name="grows",
        says="It grows.",
        source="Someone 2020, Figure 1",
        table="numbers",
        quantity=registry.make("quantity", {"name": quantity, **parameters}),
        relation=relation,
        bound=bound,
        testable=testable,
    )


NEXT_UP = math.nextafter(2, 3)
NEXT_DOWN = math.nextafter(2, 1)


@pytest.mark.parametrize(
    ("relation", "below", "at", "above", "sign"),
    [
        ("at_least", False, True, True, "≥"),
        ("at_most", True, True, False, "≤"),
        ("greater_than", False, False, True, ">"),
        ("less_than", True, False, False, "<"),
        ("equal_to", False, True, False, "="),
    ],
)
def test_relations(relation: str, below: bool, at: bool, above: bool, sign: str) -> None:
    rule = claim(relation)
    for value, expected in (
        (-math.inf, below),
        (NEXT_DOWN, below),
        (2.0, at),
        (NEXT_UP, above),
        (math.inf, above),
        (math.nan, False),
    ):
        assert fulfilled(rule, value) is expected
        assert verdict(rule, {"0": value}) == (REPRODUCED if expected else NOT_REPRODUCED)
    (row,) = judgements("p", "fig1", [rule], {rule.table: pd.DataFrame({"x": [2.0]})}).to_dict(
        "records"
    )
    assert row["expected"] == f"{sign} 2"


@pytest.mark.parametrize("failing", [1.0, math.nan])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_failing_seed_suffices(failing: float, position: int) -> None:
    values = {"0": 5.0, "1": 6.0, "2": 7.0}
    assert verdict(claim(), values) == REPRODUCED
    assert verdict(claim(), values | {str(position): failing}) == NOT_REPRODUCED


def test_nothing_measured_reproduces_nothing() -> None:
    assert verdict(claim(), {}) == NOT_REPRODUCED


@pytest.mark.parametrize("value", [1.0, 3.0, math.nan])
def test_what_the_scale_does_not_allow_is_not_judged(value: float) -> None:
    assert verdict(claim(testable=False), {"0": value}) == NOT_TESTABLE


def test_runs_with_and_without_a_swept_seed_are_not_mixed() -> None:
    table = pd.DataFrame({"seed": [0, math.nan], "x": [1e-13, 1.0]})
    with pytest.raises(PerigeeError, match="with and without a swept seed"):
        measure(claim(), table)


def test_a_quantity_is_measured_seed_by_seed() -> None:
    table = pd.DataFrame({"seed": [3, 3, 1, 1], "x": [1.0, 4.0, 2.0, 0.5]})
    assert measure(claim(), table) == {"1": 2.0, "3": 4.0}
    assert measure(claim(), table.drop(columns="seed")) == {"": 4.0}


def test_runs_of_one_seed_are_measured_together() -> None:
    table = table_of_runs({0.1: Periodic([1.0] * 2), 0.3: Periodic([1.0] * 5)}, seeds=(4, 7))
    ratio = claim(quantity="destabilisation_count_ratio", higher=0.3, lower=0.1)
    assert measure(ratio, table) == {"4": 2.5, "7": 2.5}


def test_a_missing_column_is_told_with_claim_quantity_and_table() -> None:
    table = pd.DataFrame({"seed": [0, 1], "y": [1.0, 2.0]})
    for attempt in (
        lambda: measure(claim(), table),
        lambda: judgements("mine", "fig1", [claim()], {"numbers": table}),
    ):
        with pytest.raises(PerigeeError) as caught:
            attempt()
        for told in ("'grows'", "'column_statistic'", "'x'", "'numbers'"):
            assert told in str(caught.value)
        assert not isinstance(caught.value, NotMeasurableError)


def judged(table: pd.DataFrame, rule: Claim) -> dict[str, str]:
    (row,) = judgements("mine", "fig1", [rule], {"numbers": table}).to_dict("records")
    return row


def test_a_row_tells_the_claim_and_what_came_out() -> None:
    table = pd.DataFrame({"seed": [0, 1, 2], "x": [5.0, 2.0, 1 / 3], "phase": "B"})
    assert list(judged(table, claim()).items()) == [
        ("paper", "mine"),
        ("figure", "fig1"),
        ("claim", "grows"),
        ("quantity", "column_statistic(column=x, statistic=maximum)"),
        ("expected", "≥ 2"),
        ("measured", "2 (0.3333 to 5)"),
        ("seeds", "0: 5; 1: 2; 2: 0.3333"),
        ("verdict", "not reproduced"),
        ("source", ""),
    ]
    given = judged(table, claim("at_most", 1e-12, where={"phase": "B"}, last_fraction=0.5))
    assert given["quantity"] == (
        "column_statistic(column=x, statistic=maximum, where=phase B, last_fraction=0.5)"
    )
    assert given["expected"] == "≤ 1e-12"


def test_the_wording_is_added_where_verdicts_are_published() -> None:
    rules = [claim(), replace(claim(), name="other", says="It shrinks.", source="Figure 2")]
    judged = judgements("mine", "fig1", rules, {"numbers": pd.DataFrame({"x": [2.0]})})
    wording = {rule.name: {"says": rule.says, "source": rule.source} for rule in reversed(rules)}
    worded = with_wording(judged, wording)
    assert list(worded.columns) == list(COLUMNS)
    assert worded["claim"].tolist() == ["It grows.", "It shrinks."]
    assert worded["source"].tolist() == ["Someone 2020, Figure 1", "Figure 2"]
    assert judged["claim"].tolist() == ["grows", "other"]
    others = ["claim", "source"]
    pd.testing.assert_frame_equal(worded.drop(columns=others), judged.drop(columns=others))


def test_claims_keep_their_order_and_their_tables() -> None:
    rules = [claim("at_least", bound) for bound in (3, 1, 2)]
    found = judgements("mine", "fig1", rules, {"numbers": pd.DataFrame({"x": [2.0]})})
    assert found["expected"].tolist() == ["≥ 3", "≥ 1", "≥ 2"]
    assert found["verdict"].tolist() == [NOT_REPRODUCED, REPRODUCED, REPRODUCED]
    assert found["measured"].tolist() == ["2"] * 3
    assert found["seeds"].tolist() == [""] * 3
    nothing = judgements("mine", "fig1", [], {})
    assert nothing.empty
    assert list(nothing.columns) == list(found.columns)


@pytest.mark.parametrize(
    ("seeds", "measured", "by_seed"),
    [
        ([0], "nothing to measure", "0: nothing"),
        ([0, 1, 2], "nothing to measure in 2 of 3", "0: nothing; 1: nothing; 2: 4"),
    ],
)
def test_nothing_to_measure_is_told(seeds: list[int], measured: str, by_seed: str) -> None:
    table = pd.DataFrame(
        {"seed": seeds, "x": 4.0, "phase": ["B" if seed == 2 else "none" for seed in seeds]}
    )
    row = judged(table, claim(where={"phase": "B"}))
    assert row["measured"] == measured
    assert row["seeds"] == by_seed
    assert row["verdict"] == NOT_REPRODUCED


@pytest.mark.parametrize("testable", [True, False])
def test_runs_that_there_are_not_are_no_verdict(testable: bool) -> None:
    table = table_of_runs({0.1: Periodic([1.0] * 2)}, seeds=(0, 1))
    row = judged(
        table,
        claim(
            quantity="destabilisation_count",
            testable=testable,
            learning_rates=[0.1, 0.2],
            statistic="minimum",
        ),
    )
    assert row["measured"] == "no run with learning rate 0.2"
    assert row["seeds"] == ""
    assert row["verdict"] == NOT_TESTABLE


def test_what_cannot_be_judged_is_measured_all_the_same() -> None:
    row = judged(pd.DataFrame({"seed": [0], "x": [5.0]}), claim(testable=False))
    assert (row["measured"], row["seeds"], row["verdict"]) == ("5", "0: 5", NOT_TESTABLE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2, "2"),
        (0.123456, "0.1235"),
        (1.0e-12, "1e-12"),
        (float("nan"), "nothing"),
        ([0.1, 3], "[0.1, 3]"),
        ({"phase": "B", "rate": 0.30000001}, "phase B and rate 0.3"),
        (True, "True"),
        ("B", "B"),
    ],
)
def test_values_as_text(value: Any, text: str) -> None:
    assert _shown(value) == text


def test_a_claim_survives_json() -> None:
    rule = claim("less_than", 0.25, where={"phase": "B", "run": 1})
    assert Claim.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule
    unworded = Claim.from_dict(json.loads(json.dumps(rule.rule)))
    assert unworded == replace(rule, says="", source="")
    assert rule.to_dict()["quantity"]["name"] == "column_statistic"
