"""benchmarks/verdict_stability.py: splits of seeds, and the agreement that is to be expected."""

from __future__ import annotations

import importlib.util
import itertools
from typing import Any

import pytest

from support.workspace import ROOT


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
