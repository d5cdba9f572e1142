"""A warning comes if much would be trained again only because code was changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perigee.forecast import retraining_warning, runs_to_train, trainings
from perigee.identity.products import Identity
from perigee.plan import Plan, PlannedRun, make_plan
from perigee.store import writing
from perigee.store.runs import STATE, TABLES, run_details
from perigee.store.trajectories import TRAJECTORY, TRAJECTORY_FILES
from perigee.store.writing import product_writer

OTHER = "0" * 16
RULE, DIGITS = "perigee.training.optimisers.sgd", "perigee.data.digits"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(["periodic"], "smoke")


def by_other_code(identity: Identity, changed: str, **replaced: Any) -> Identity:
    modules = {**identity.modules, changed: OTHER, "perigee.gone": OTHER}
    return replace(identity, code=OTHER, modules=modules, **replaced)


def make(store: Path, identity: Identity, run: PlannedRun | None = None) -> None:
    epochs = run.epochs if run else 0
    details: Mapping[str, Any] = run_details(epochs, 0, None, epochs, 60.0) if run else {}
    folder = store / identity.folder / (f"e{epochs}" if run else "")
    with product_writer(folder, identity, **details) as product:
        for name in TABLES:
            (product.aside / name).write_text("")


def test_the_changed_modules_are_named(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([{"commit": "a" * 40, "dirty": False}] * len(plan.runs))
    monkeypatch.setattr(writing, "git_state", lambda: next(states))
    for run in plan.runs.values():
        make(tmp_path, by_other_code(run.identity, RULE), run)
    told = retraining_warning(plan, tmp_path, hours=0)
    assert told is not None
    runs = {run.identity.folder for run in plan.runs.values()}  # one has versions with and without
    assert f"{len(runs)} runs" in told
    assert f"Changed: perigee.gone, {RULE}." in told
    assert f"record_equivalence.py --old {'a' * 12}'" in told
    assert retraining_warning(plan, tmp_path, hours=100) is None


def test_a_changed_data_set_is_named(plan: Plan, tmp_path: Path) -> None:
    (run, *_) = plan.runs.values()
    dataset = by_other_code(run.dataset.identity, DIGITS)
    make(tmp_path, dataset)
    make(tmp_path, replace(run.identity, inputs={"dataset": dataset.digest}), run)
    told = retraining_warning(plan, tmp_path, hours=0)
    assert told is not None
    assert "1 run that" in told
    assert f"Changed: {DIGITS}, perigee.gone." in told


def test_without_recorded_modules_none_is_named(plan: Plan, tmp_path: Path) -> None:
    (run, *_) = plan.runs.values()
    make(tmp_path, replace(run.identity, code=OTHER, modules={}), run)
    told = retraining_warning(plan, tmp_path, hours=0)
    assert told is not None
    assert "modules that were not recorded then" in told


def test_an_unknown_cost_is_warned_of(plan: Plan, tmp_path: Path) -> None:
    (run, *_) = plan.runs.values()
    with product_writer(
        tmp_path / by_other_code(run.identity, RULE).folder / "e9",
        by_other_code(run.identity, RULE),
        **run_details(9, 0, None, 0),  # read off a longer version that is gone
    ):
        pass
    told = retraining_warning(plan, tmp_path, hours=100)
    assert told is not None
    assert "an unknown time" in told


@pytest.mark.parametrize(("gradient", "per_epoch"), [("mini_batch", 12), ("full_batch", 1)])
def test_steps_still_to_be_trained(
    gradient: str, per_epoch: int, plan: Plan, tmp_path: Path
) -> None:
    """1,437 digits are 12 mini-batches of 128, or one full batch."""
    (folder, run), *_ = plan.runs.items()
    assert run.spec.batch_size == 128
    asked = replace(run, spec=replace(run.spec, gradient=gradient))
    (found,) = trainings(plan, tmp_path, {folder: asked}, []).values()
    assert found.epochs == run.epochs
    assert found.steps == per_epoch * run.epochs
    assert found.cost.bytes == 24 * found.steps


@pytest.mark.parametrize(
    ("kept", "lost", "keep_every", "expected"),
    [
        ("e6", None, None, 4),
        ("e6", STATE, None, 10),  # read off a longer version that is gone
        ("e6-every3", None, None, 4),
        ("e6", None, 2, 10),
        ("e6-every1", None, 2, 4),
        ("e6-every2", None, 2, 4),
        ("e6-every2", STATE, 2, 10),
        ("e6-every2", TRAJECTORY, 2, 10),
        ("e6-every4", None, 2, 10),
        ("e6-every3", None, 2, 10),
        ("e12-every3", None, 2, 10),
    ],
)
def test_only_what_training_goes_on_from_is_not_trained(
    kept: str, lost: str | None, keep_every: int | None, expected: int, plan: Plan, tmp_path: Path
) -> None:
    plain = {run.identity.folder for run in plan.runs.values() if run.keep_every is None}
    other = next(run for run in plan.runs.values() if run.identity.folder not in plain)
    run = replace(other, epochs=10, keep_every=keep_every)
    folder = tmp_path / run.identity.folder / kept
    files = {*TABLES, STATE, *(TRAJECTORY_FILES if "-every" in kept else ())} - {lost}
    with product_writer(folder, run.identity) as product:
        for name in files:
            (product.aside / name).touch()
    (found,) = trainings(plan, tmp_path, {run.folder: run}, []).values()
    assert found.epochs == expected


@pytest.mark.parametrize(("keep_every", "expected"), [(None, 3), (1, 7)])
def test_a_planned_version_without_checkpoints_spares_only_one_without(
    keep_every: int | None, expected: int, plan: Plan, tmp_path: Path
) -> None:
    shorter = next(run for run in plan.runs.values() if run.keep_every is None)
    longer = replace(shorter, epochs=shorter.epochs + 3, keep_every=keep_every)
    (found,) = trainings(plan, tmp_path, {longer.folder: longer}, []).values()
    assert shorter.epochs == 4
    assert found.epochs == expected


@pytest.mark.parametrize("kept", ["nothing", "present code too", "other spec", "damaged"])
def test_nothing_is_told_without_need(plan: Plan, tmp_path: Path, kept: str) -> None:
    (run, *_) = plan.runs.values()
    other = by_other_code(run.identity, RULE)
    if kept == "present code too":
        make(tmp_path, run.identity, run)
        make(tmp_path, other, run)
    if kept == "other spec":
        make(tmp_path, replace(other, spec={**run.identity.spec, "batch_size": 3}), run)
    if kept == "damaged":
        make(tmp_path, other, run)
        for path in tmp_path.rglob("provenance.json"):
            path.write_text("{")
    assert retraining_warning(plan, tmp_path, hours=0) is None
    assert (run.folder in runs_to_train(plan, tmp_path)) == (kept != "present code too")
