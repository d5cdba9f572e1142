"""The numbers of single seeds, and the table of them that grows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from perigee.claims.seed_results import COLUMNS, merged, seed_results
from perigee.spec import Claim

TABLE = pd.DataFrame(
    {"seed": [10, 10, 11, 11, 12, 12], "x": [1.0, 3.0, 5.0, 9.0, float("nan"), 2.0], "n": 1}
)
ABOUT = {
    "scale": "laptop",
    "paper": "periodic",
    "figure": "fig3",
    "commit": "abc",
    "processor": "one",
    "torch": "2",
    "date": "2026-01-31",
}


def claim(name: str, **given: Any) -> Claim:
    values: dict[str, Any] = {
        "name": name,
        "kind": "rate",
        "unit": "run",
        "testable": True,
        "table": "t",
        "quantity": {"name": "column", "column": "x"},
        "within_seed": "mean",
        "relation": "greater_than",
        "bound": 0,
    }
    return Claim.from_dict(values | given)


def found(*claims: Claim, **about: str) -> pd.DataFrame:
    return seed_results(claims, {"t": TABLE}, {"t": [10, 11, 12, 13]}, {**ABOUT, **about})


def test_a_row_per_claim_and_seed() -> None:
    premise = {
        "table": "t",
        "quantity": {"name": "column", "column": "x"},
        "within_seed": "maximum",
        "relation": "at_least",
        "bound": 5,
    }
    rows = found(claim("means"), claim("large", given=premise))
    assert list(rows.columns) == list(COLUMNS)
    assert rows["claim"].tolist() == ["means"] * 4 + ["large"] * 4
    assert rows["seed"].tolist() == ["10", "11", "12", "13"] * 2
    # A seed with a value that is not finite, and one without rows, have nothing measured.
    assert rows["value"].tolist() == ["2", "7", "", ""] * 2
    assert rows["premise"].tolist() == [""] * 4 + ["not met", "met", "not met", "not met"]
    assert (rows["processor"] == "one").all()


def test_claims_without_seeds_or_settings_have_no_rows() -> None:
    plain = TABLE.drop(columns="seed")
    assert seed_results([claim("means")], {"t": plain}, {}, ABOUT).empty
    setting = claim("other", quantity={"name": "column", "column": "x", "where": {"n": 2}})
    assert found(setting).empty


def test_further_rows_are_added_and_equal_ones_replaced() -> None:
    known = found(claim("means"), date="2025-01-01")
    elsewhere = found(claim("means"), processor="another")
    both = merged(known, elsewhere)
    assert len(both) == 8
    again = merged(both, found(claim("means")))
    assert len(again) == 8
    of_one = again[again["processor"] == "one"]
    assert (of_one["date"] == "2026-01-31").all()
    # Seeds are in the order of numbers.
    later = found(claim("means")).assign(seed=["9", "100", "11", "8"])
    assert merged(later.iloc[:0], later)["seed"].tolist() == ["8", "9", "11", "100"]
