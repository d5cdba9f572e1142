"""`perigee claims`: the printed table of verdicts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from perigee.claims.outcomes import COLUMNS
from perigee.commands import claims as program
from perigee.errors import PerigeeError
from perigee.planning.plan import Plan

ROWS = [
    {
        "paper": "periodic",
        "figure": "fig3",
        "claim": "It [falls].",
        "kind": "rate",
        "quantity": "median of x",
        "unit": "destabilisation",
        "expected": "> 0",
        "estimate": "2.5",
        "interval": "p 0.5559 to 1",
        "fulfilled": "3/3",
        "measured_seeds": "3 of 4 (10: 2; 11: 3; 12: 2.5; 13: nothing)",
        "premise": "3 of 4: first of n ≥ 1",
        "verdict": "reproduced",
        "seen": "seeds 0",
        "locked": "2026-01-31, 0.1.0",
        "source": "Someone 2020",
    },
    {"kind": "mean", "claim": "It rises.", "verdict": "contradicted", "locked": "not locked"},
    {"kind": "identity", "claim": "It is so.", "verdict": "holds", "locked": "2026-01-31, 0.1.0"},
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "claims.csv"
    pd.DataFrame(ROWS, columns=list(COLUMNS)).fillna("").to_csv(path, index=False)
    return path


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(re.sub(r"[│┃─┼┴]", " ", capsys.readouterr().out).split())


def test_all_is_printed_that_a_verdict_rests_on(
    table: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.txt"
    program.main(claims=table, copy=copy)
    shown = printed(capsys)
    for part in (
        "periodic_fig3",
        "It [falls].",
        "rate, by destabilisation",
        "90 %: p 0.5559 to 1",
        "3/3",
        "10: 2; 11: 3",
        "premise: 3 of 4: first of n ≥ 1",
        "seen: seeds 0",
    ):
        assert part in shown, part
    assert shown.count("not locked") == 2
    assert "Rules that are not locked, or were changed since: 1; 'perigee claims lock'" in shown
    first, _, second = shown.partition("Identities and theorems")
    assert "It rises." in first
    assert "It is so." in second
    assert (
        "Of 2 empirical claims: 1 reproduced, 1 contradicted, 0 inconclusive, "
        "0 nothing to measure, 0 not testable at this scale. Of 1 identity: 1 holds."
    ) in shown
    assert "It rises." in copy.read_text(encoding="utf-8")


def test_a_table_of_another_version_is_refused(table: Path) -> None:
    pd.read_csv(table).drop(columns="kind").to_csv(table, index=False)
    with pytest.raises(PerigeeError, match="another version of Perigee, with other columns; make"):
        program.main(claims=table)


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match="make it with 'snakemake claims --config scale=paper'"):
        program.main(claims=tmp_path / "claims.csv", scale="paper")


def test_the_seeds_that_were_judged_can_be_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def plan_of_options(*options: Any) -> tuple[Plan, Path, dict[str, Any]]:
        asked.append(options)
        return Plan("laptop", {}), tmp_path / "results/store", {}

    monkeypatch.setattr(program, "plan_of_options", plan_of_options)
    for action in ("keep", None):
        with pytest.raises(PerigeeError, match="snakemake claims"):
            program.main(action, scale="laptop", papers=["periodic"], results="r", seeds=8)
    assert asked == [("laptop", ["periodic"], "r", 8)] * 2
