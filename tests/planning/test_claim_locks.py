"""Rules of claims are locked before judged seeds are looked at, and a change of one shows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perigee.commands import claims as program
from perigee.configuration import models
from perigee.configuration.locks import LOCK, Locks, lock_rules, locks_of, read_locks, rule_digest
from perigee.configuration.reading import read_yaml
from perigee.errors import PerigeeError
from perigee.paths import CARRIED
from support.configuration import figure_of, read_from, write

CLAIM: dict[str, Any] = yaml.safe_load("""
says: It falls.
place: Section 1
kind: rate
unit: epoch
table: runs
quantity: {column: train_loss, where: {optimiser.learning_rate: low}}
within_seed: minimum
expected: {at_most: 0.5}
""")
PAPER: dict[str, Any] = yaml.safe_load("""
citation: Someone 2020
runs:
  base:
    dataset: {name: digits}
    model: {name: convnet, scale_invariant: true, width: 4}
    optimiser: {name: sgd, learning_rate: 0.3, weight_decay: 0.01}
    batch_size: 128
    seed: 10
figures:
  fig3:
    title: Rates
    runs:
      rates:
        run: base
        epochs: 4
        sweep: {optimiser.learning_rate: {low: 0.1, high: 0.3}, seed: judged}
    tables:
      runs: {analysis: {name: run_metrics}, runs: [rates]}
""") | {"overlays": {}}


def documents(**claims: Any) -> dict[str, Any]:
    paper = copy.deepcopy(PAPER)
    paper["figures"]["fig3"]["claims"] = claims
    return {"mine": paper}


FIGURE: dict[str, Any] = PAPER["figures"]["fig3"]


def digest_of(figure: dict[str, Any] = FIGURE, **changed: Any) -> str:
    return rule_digest("fig3", models.Claim.model_validate({**CLAIM, **changed}), figure)


# What a lock is of


@pytest.mark.parametrize(
    "changed",
    [
        {"says": "It falls and falls."},
        {"place": "Section 2"},
        {"ours": {"expected": "Half."}},
        {"seen": {"expected": {"saw": "All."}}},
        {"expected": {"at_most": "5e-1"}},
        {"pooled": False},
    ],
)
def test_wording_is_not_locked(changed: dict[str, Any]) -> None:
    assert digest_of(**changed) == digest_of()


PREMISE = {"table": "runs", "quantity": {"column": "n"}, "expected": {"at_least": 1}}
CHANGES: list[dict[str, Any]] = [
    {"kind": "mean"},
    {"unit": "run"},
    {"table": "others"},
    {"quantity": {"column": "test_loss"}},
    {"quantity": CLAIM["quantity"] | {"last_fraction": 0.5}},
    {"within_seed": "median"},
    {"expected": {"at_most": 0.6}},
    {"expected": {"less_than": 0.5}},
    {"expected": {"at_most": 0}},
    {"expected": {"equal_to": 0}},
    {"margin": 0.1},
    {"pooled": True},
    {"draws": "start"},
    {"shared": "image"},
    {"given": PREMISE},
    {"given": {**PREMISE, "within_seed": "first"}},
]


def test_each_part_of_a_rule_is_locked() -> None:
    found = [digest_of(), *(digest_of(**changed) for changed in CHANGES)]
    assert len(set(found)) == len(found)
    claim = models.Claim.model_validate(CLAIM)
    assert rule_digest("fig4", claim, FIGURE) != rule_digest("fig3", claim, FIGURE)


def changed_figure(dotted: str, value: Any) -> dict[str, Any]:
    """The figure with another value at a dotted key, or with a new key."""
    figure = copy.deepcopy(FIGURE)
    place = figure
    *path, last = dotted.split("/")
    for key in path:
        place = place.setdefault(key, {})
    place[last] = value
    return figure


OTHER_TABLES = [
    ("tables/runs/analysis", {"name": "period_statistics"}),
    ("tables/runs/analysis/resolution", "step"),
    ("tables/runs/runs", ["rates", "others"]),
    ("runs/rates/run", "other"),
    ("runs/rates/label", "plain"),
]


@pytest.mark.parametrize(("key", "value"), OTHER_TABLES)
def test_the_table_is_part_of_the_rule(key: str, value: Any) -> None:
    """The analysis that it is computed by, and its runs."""
    assert digest_of(changed_figure(key, value)) != digest_of()


def test_the_premises_table_is_part_of_the_rule() -> None:
    premise = {"given": {**PREMISE, "table": "statistics"}}
    found = {
        digest_of(changed_figure("tables/statistics/analysis", analysis), **premise)
        for analysis in ({"name": "dials"}, {"name": "dials", "resolution": "step"})
    }
    assert len(found) == 2
    assert digest_of(changed_figure("tables/statistics/analysis", {"name": "dials"})) == digest_of()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("runs/rates/epochs", 9),
        ("runs/rates/sweep", {"optimiser.learning_rate": {"low": 3, "high": 4}}),
        ("runs/rates/set", {"batch_size": 5}),
        ("title", "Others"),
    ],
)
def test_what_the_runs_are_set_to_is_not(key: str, value: Any) -> None:
    assert digest_of(changed_figure(key, value)) == digest_of()


# The file


def test_rules_are_locked_once(tmp_path: Path) -> None:
    write(tmp_path, documents(falls=CLAIM, other={**CLAIM, "within_seed": "median"}))
    path = tmp_path / "config/papers/mine" / LOCK
    with read_from(tmp_path):
        assert [lock.claim for lock in lock_rules("mine", "2026-01-31", "0.1.0")[path]] == [
            "falls",
            "other",
        ]
        first = path.read_text()
        assert lock_rules("mine", "2027-01-01", "0.2.0") == {path: []}
        assert path.read_text() == first
    write(tmp_path, documents(falls={**CLAIM, "says": "It fell."}, other={**CLAIM, "kind": "mean"}))
    with read_from(tmp_path):
        (new,) = lock_rules("mine", "2027-01-01", "0.2.0")[path]
    assert (new.claim, new.date, new.version) == ("other", "2027-01-01", "0.2.0")
    assert path.read_text() == f"{first}{new.line}\n", "what was locked stays"
    assert [lock.line for lock in read_locks(path)][-1] == new.line


def test_the_overlay_of_a_scale_changes_no_rule(tmp_path: Path) -> None:
    mine = documents(falls=CLAIM)
    table = mine["mine"]["figures"]["fig3"]["tables"]["runs"]
    table["analysis"] = {"name": "one_period", "smoothing_epochs": 1}
    others = {
        "runs": {"rates": {"epochs": 2}},
        "tables": {"runs": {"analysis": {"smoothing_epochs": 3}}},
    }
    mine["mine"]["overlays"] = {"smoke": {"fig3": others}}
    write(tmp_path, mine)
    with read_from(tmp_path):
        lock_rules("mine", "2026-01-31", "0.1.0")
    figure = figure_of(tmp_path, mine, "mine_fig3")
    assert figure.tables[0].analysis.parameters["smoothing_epochs"] == 3
    assert [claim.locked for claim in figure.claims] == ["2026-01-31, 0.1.0"]


def test_a_figure_that_is_wrong_is_told_when_its_rules_are_locked(tmp_path: Path) -> None:
    mine = documents(falls=CLAIM)
    mine["mine"]["figures"]["fig3"]["tables"] = ["runs"]
    write(tmp_path, mine)
    with read_from(tmp_path), pytest.raises(PerigeeError, match="'tables'"):
        lock_rules("mine", "2026-01-31", "0.1.0")


def locked(folder: Path, **claims: Any) -> list[str]:
    return [claim.locked for claim in figure_of(folder, documents(**claims), "mine_fig3").claims]


def test_a_claim_tells_when_its_rule_was_locked(tmp_path: Path) -> None:
    assert locked(tmp_path, falls=CLAIM) == ["not locked"]
    with read_from(tmp_path):
        lock_rules("mine", "2026-01-31", "0.1.0")
    assert locked(tmp_path, falls=CLAIM) == ["2026-01-31, 0.1.0"]
    # A name is wording; a new claim is told from one that was changed since.
    assert locked(tmp_path, drops=CLAIM) == ["2026-01-31, 0.1.0"]
    changed = {**CLAIM, "expected": {"at_most": 0.7}}
    assert locked(tmp_path, falls=changed, fresh=changed) == [
        "not locked: changed since 2026-01-31",
        "not locked",
    ]
    # As it was, it is locked as it was.
    assert locked(tmp_path, falls=CLAIM) == ["2026-01-31, 0.1.0"]


def test_a_study_needs_no_lock(tmp_path: Path) -> None:
    study = {
        "study": "own",
        "question": "Does it fall?",
        "run": "mine.base",
        "epochs": 2,
        "sweep": {"optimiser.weight_decay": {"low": 0.1, "high": 0.2}},
        "claims": {
            "falls": {
                "says": "It falls.",
                "table": "runs",
                "quantity": {"column": "train_loss", "where": {"optimiser.weight_decay": "low"}},
                "within_seed": "last",
                "expected": {"at_most": 1},
            }
        },
    }
    figure = figure_of(tmp_path, documents(falls=CLAIM) | {"own": study}, "study_own")
    (claim,) = figure.claims
    assert (claim.locked, claim.kind, claim.unit) == ("", "rate", "run")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(" 2026-01-31", ""),
        lambda text: text + "<<<<<<< mine\n",
        lambda text: text.replace("fig3.", ""),
    ],
)
def test_a_line_that_is_not_a_lock_is_told(damage: Callable[[str], str], tmp_path: Path) -> None:
    write(tmp_path, documents(falls=CLAIM))
    with read_from(tmp_path):
        (path,) = lock_rules("mine", "2026-01-31", "0.1.0")
        path.write_text(damage(path.read_text()))
        with pytest.raises(PerigeeError) as caught:
            locks_of("mine")
    told = str(caught.value)
    assert told.startswith("config/papers/mine/claims.lock, line ")
    assert "is not a locked rule; restore the line" in told
    assert "\n" not in told


def test_the_program_locks_and_says_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, documents(falls=CLAIM))
    with read_from(tmp_path):
        program.main("lock")
        program.main("lock")
    assert capsys.readouterr().out.splitlines() == [
        "config/papers/mine/claims.lock: fig3.falls",
        "config/papers/mine/claims.lock: nothing new",
    ]


# The papers' own


@pytest.mark.parametrize(
    "path",
    sorted((CARRIED / "config/papers").glob("*/claims/*.yaml")),
    ids=lambda path: f"{path.parents[1].name}-{path.stem}",
)
def test_every_rule_of_the_papers_is_locked(path: Path) -> None:
    """`perigee claims lock` locks new and changed ones, before their judged seeds are looked at."""
    figure = read_yaml(path.parents[1] / path.name)
    locks = Locks(path.stem, figure, locks_of(path.parents[1].name))
    claims = models.Claims.model_validate(read_yaml(path)).claims
    told = {name: locks.told(name, claim) for name, claim in claims.items()}
    assert not {name: one for name, one in told.items() if one.startswith("not locked")}
