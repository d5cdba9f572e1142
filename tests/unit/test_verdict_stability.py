"""benchmarks/verdict_stability.py: splits of seeds, and the agreement that is to be expected."""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from perigee import registry
from perigee.claims.seed_results import COLUMNS
from perigee.planning.plan import make_plan
from perigee.spec import Claim
from support.workspace import ROOT

CLAIM = Claim(
    name="grows",
    kind="rate",
    unit="epoch",
    table="numbers",
    quantity=registry.make("quantity", {"name": "column", "column": "x"}),  # type: ignore[arg-type]
    within_seed="maximum",
    relation="at_least",
    bound=2,
    testable=True,
    locked="2026-03-02, 0.1.0",
)


@pytest.fixture(scope="module")
def stability() -> Any:
    path = ROOT / "benchmarks/verdict_stability.py"
    spec = importlib.util.spec_from_file_location("verdict_stability", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_halves_share_no_seed_and_leave_out_none(stability: Any) -> None:
    found = stability.splits(range(10, 22), 50)
    assert len(found) == 50
    for one, other in found:
        assert sorted([*one, *other]) == list(range(10, 22))
        assert len(one) == len(other) == 6
    assert len({tuple(one) for one, _ in found}) > 40


@pytest.mark.parametrize("fulfilled", [0, 3, 6, 9, 12])
def test_agreement_is_that_of_coins_with_the_observed_rate(stability: Any, fulfilled: int) -> None:
    """All outcomes of two halves of 4 seeds, one by one."""
    rate = fulfilled / 12
    chance = 0.0
    for coins in itertools.product((0, 1), repeat=8):
        weight = rate ** sum(coins) * (1 - rate) ** (8 - sum(coins))
        halves = [stability.verdict_of_rate(sum(half), 4) for half in (coins[:4], coins[4:])]
        chance += weight * (halves[0] == halves[1])
    assert stability.expected_agreement(fulfilled, 12, 4) == pytest.approx(chance)


def test_only_reproduced_and_contradicted_are_opposite(stability: Any) -> None:
    pairs = [
        ("reproduced", "reproduced"),
        ("reproduced", "inconclusive"),
        ("contradicted", "reproduced"),
        ("nothing to measure", "contradicted"),
    ]
    assert stability.agreement(pairs) == {"equal": 0.25, "opposite": 0.25}


def rows(*kept: tuple[str, int, str, str]) -> pd.DataFrame:
    """Rows of kept numbers: day, seed, value and premise."""
    return pd.DataFrame(kept, columns=["date", "seed", "value", "premise"]).astype(str)


def test_the_number_kept_last_counts_and_none_from_before_the_rule(stability: Any) -> None:
    kept = rows(
        ("2026-03-01", 10, "5", ""),
        ("2026-03-09", 11, "4", "met"),
        ("2026-03-02", 11, "3", "met"),
        ("2026-03-02", 12, "2", "not met"),
        ("2026-03-02", 13, "", ""),
    )
    found = stability.kept_numbers(kept, CLAIM)
    assert found.keys() == {11, 12, 13}
    assert found[11] == 4
    assert found[12] is None
    assert math.isnan(found[13])


def test_halves_are_judged_on_their_own_seeds_that_meet_the_premise(stability: Any) -> None:
    numbers = {10: 3.0, 11: 3.0, 12: 3.0, 13: 1.0, 14: 1.0, 15: 1.0, 16: None}
    assert stability.verdict(CLAIM, numbers, [10, 11, 12]) == "reproduced"
    assert stability.verdict(CLAIM, numbers, [13, 14, 15]) == "contradicted"
    assert stability.verdict(CLAIM, numbers, [10, 11, 16]) == "inconclusive"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"kind": "identity"}, "identities"),
        ({"testable": False}, "not testable at this scale"),
        ({"shared": "image"}, "judged on more than a number a seed"),
        ({"pooled": True}, "judged on more than a number a seed"),
    ],
)
def test_what_cannot_be_compared_is_left_out(
    stability: Any, change: dict[str, Any], reason: str | None
) -> None:
    numbers = dict.fromkeys(range(10, 22), 3.0)
    assert stability.left_out(replace(CLAIM, **change), numbers) == reason


def test_few_seeds_are_left_out(stability: Any) -> None:
    assert stability.left_out(CLAIM, dict.fromkeys(range(10, 21), 3.0)).startswith("fewer than 12")


def test_a_claim_that_holds_in_half_of_the_seeds_turns(
    stability: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A table of one claim that holds always and one that does in every second seed."""
    names = [
        claim.name
        for claim in make_plan(["periodic"], "laptop").figures["periodic_fig1"].request.claims
    ]
    common = {"scale": "laptop", "paper": "periodic", "figure": "fig1", "date": "2099-01-01"}
    kept = [
        {**common, "claim": name, "seed": str(seed), "value": str(9 if always or seed % 2 else 0)}
        for name, always in zip(names, (True, False), strict=True)
        for seed in range(10, 22)
    ]
    table, out = tmp_path / "seeds.csv", tmp_path / "out.json"
    pd.DataFrame(kept, columns=list(COLUMNS)).to_csv(table, index=False)
    command = ["", "--kept", table, "--out", out, "--papers", "periodic", "--splits", "40"]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    assert stability.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[1:] == ["1.00", "1.00", "0.00", "reproduced"] for line in lines)
    assert any(line.endswith("MISSED") for line in lines)
