"""The forecast of training and measuring, and the warning if much of it was done before."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perigee.blocks.measures import Checkpoints, FullGradientNorm, Measure, Metrics, Steps
from perigee.identity.products import Identity, measure_identity
from perigee.planning.costs import Record
from perigee.planning.forecast import Training, retraining_warning, trainings
from perigee.planning.layout import Layout
from perigee.planning.products import RunProduct
from perigee.store.provenance import PROVENANCE
from perigee.store.runs import MEASURE_FILES, RUN_FILES, STATE
from support.planning import RUN_01, RUN_03, Project, edit_json, make, name_of, put, trained

OTHER = "0" * 16
RULE, DIGITS = "perigee.kernel.optimisers.sgd", "perigee.data.digits"


@pytest.fixture
def layout(project: Project) -> Layout:
    return project.layout()


def named(layout: Layout, name: str) -> RunProduct:
    return next(one for one in layout.runs.values() if name_of(one) == name)


def made_by(
    layout: Layout, identity: Identity, epochs: int = 4, seconds_per_epoch: float = 60.0
) -> Path:
    """A version of a run by code other than the current."""
    folder = Path(layout.store) / identity.folder / f"e{epochs}"
    return put(folder, identity, RUN_FILES, **trained(epochs, seconds_per_epoch))


def by_other_code(identity: Identity, changed: str, **replaced: Any) -> Identity:
    modules = {**identity.modules, changed: OTHER, "perigee.gone": OTHER}
    return replace(identity, code=OTHER, modules=modules, **replaced)


# The warning


def test_the_changed_modules_are_named(layout: Layout) -> None:
    for run in layout.runs.values():
        folder = made_by(layout, by_other_code(run.identity, RULE), run.epochs)
        edit_json(folder / PROVENANCE, git={"commit": "a" * 40, "dirty": False})
    told = retraining_warning(layout, hours=0)
    assert told is not None
    assert "Since code was changed, 5 runs" in told
    assert f"Changed: perigee.gone, {RULE}." in told
    assert f"perigee equivalence record --old {'a' * 12}'" in told
    # A minute for each of 4 * 4 + 3 epochs.
    assert "about 0.32 hours" in told
    assert retraining_warning(layout, hours=0.33) is None
    assert retraining_warning(layout, hours=0.31) is not None


@pytest.mark.parametrize(
    "states",
    [
        [{"commit": "a" * 40, "dirty": False}, {"commit": "b" * 40, "dirty": False}],
        [{"commit": "a" * 40, "dirty": True}] * 2,
        [None, {"commit": "a" * 40, "dirty": False}],
    ],
)
def test_a_commit_is_named_only_if_all_were_made_there(states: list[Any], layout: Layout) -> None:
    for name, state in zip((RUN_01, RUN_03), states, strict=True):
        folder = made_by(layout, by_other_code(named(layout, name).identity, RULE))
        edit_json(folder / PROVENANCE, git=state)
    told = retraining_warning(layout, hours=0)
    assert told is not None
    assert "perigee equivalence record' proves it" in told


def test_a_changed_data_set_is_named(layout: Layout) -> None:
    run = named(layout, RUN_01)
    dataset = by_other_code(run.dataset.identity, DIGITS)
    made_by(layout, replace(run.identity, inputs={"dataset": dataset.digest}))
    told = retraining_warning(layout, hours=0)
    assert told is not None
    assert "1 run that" in told
    assert f"Changed: {DIGITS}." in told


def test_without_recorded_modules_none_is_named(layout: Layout) -> None:
    made_by(layout, replace(named(layout, RUN_01).identity, code=OTHER, modules={}))
    told = retraining_warning(layout, hours=0)
    assert told is not None
    assert "modules that were not recorded then" in told


def test_an_unknown_cost_is_warned_of(layout: Layout) -> None:
    run = named(layout, RUN_01)
    folder = made_by(layout, by_other_code(run.identity, RULE), 9)
    edit_json(folder / PROVENANCE, details={**trained(9), "trained_epochs": 0})
    told = retraining_warning(layout, hours=100)
    assert told is not None
    assert "an unknown time" in told


def test_the_newest_of_several_versions_is_compared_with(layout: Layout) -> None:
    run = named(layout, RUN_01)
    older = made_by(layout, by_other_code(run.identity, "perigee.older"), 4)
    edit_json(older / PROVENANCE, started="2025-01-01T00:00:00Z")
    other = replace(by_other_code(run.identity, RULE), code="1" * 16)
    made_by(layout, other, 4)
    told = retraining_warning(layout, hours=0)
    assert told is not None
    assert RULE in told
    assert "perigee.older" not in told


@pytest.mark.parametrize(
    "kept", ["nothing", "present code too", "other spec", "damaged", "earlier format"]
)
def test_nothing_is_told_without_need(layout: Layout, kept: str) -> None:
    run = named(layout, RUN_01)
    other = by_other_code(run.identity, RULE)
    if kept == "present code too":
        make(run, Path(layout.store))
        made_by(layout, other)
    if kept == "other spec":
        made_by(layout, replace(other, spec={**run.identity.spec, "batch_size": 3}))
    if kept == "damaged":
        (made_by(layout, other) / PROVENANCE).write_text("{")
    if kept == "earlier format":
        edit_json(made_by(layout, other) / PROVENANCE, format=1)
    assert retraining_warning(layout, hours=0) is None
    found = layout.outstanding(layout.plan.figures.values())
    assert (run.folder in found) == (kept != "present code too")


def test_a_run_that_was_begun_with_the_present_code_goes_on(project: Project) -> None:
    """Two of its epochs are there: what an older code made is not missed."""
    layout = project.layout()
    run = named(layout, RUN_01)
    made_by(layout, by_other_code(run.identity, RULE))
    assert retraining_warning(layout, hours=0) is not None
    make(replace(run, epochs=2), project.store)
    assert retraining_warning(layout, hours=0) is None


def test_measures_that_finished_runs_lack_are_warned_of(project: Project) -> None:
    project.make()
    assert retraining_warning(project.layout(), hours=0) is None
    # Which reads every step of both of its runs; one of them has that measure for figure 4.
    project.periodic["figures"]["fig3"]["tables"]["runs"]["analysis"] = {
        "name": "one_period",
        "smoothing_epochs": 1,
    }
    told = retraining_warning(project.layout(), hours=0)
    assert told is not None
    assert told.startswith("For measures that they lack, 1 run that the store holds would be")
    assert "equivalence record" not in told
    assert retraining_warning(project.layout(), hours=1) is None


def test_measures_computed_at_checkpoints_are_not_warned_of(project: Project) -> None:
    """The fork's parent keeps them after every epoch."""
    project.sweep("fig3")["sweep"]["optimiser.learning_rate"] = [0.3]
    project.make()
    project.table("fig3")["analysis"]["further"] = ["full_gradient_norm"]
    assert RUN_03 in project.outstanding()
    assert retraining_warning(project.layout(), hours=0) is None


# What is counted


@pytest.mark.parametrize(("gradient", "per_epoch"), [("mini_batch", 12), ("full_batch", 1)])
def test_steps_still_to_be_trained(gradient: str, per_epoch: int, project: Project) -> None:
    """1,437 digits are 12 mini-batches of 128, or one full batch."""
    project.periodic["runs"]["base"]["gradient"] = gradient
    layout = project.layout()
    found = trainings(layout, [named(layout, RUN_01)], [])
    ((_, training),) = found.items()
    assert training.epochs == 4
    assert training.steps == per_epoch * 4
    assert training.cost.bytes == 8 * training.steps
    assert training.cost.seconds is None


def test_records_are_read_only_for_runs_that_wait(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run with nothing to do does not read the provenance of all runs."""
    read: list[Path] = []

    def read_records(store: Path) -> list[Record]:
        read.append(store)
        return []

    monkeypatch.setattr("perigee.planning.layout.read_records", read_records)
    assert trainings(layout, layout.plan.datasets.values()) == {}
    assert not read
    assert trainings(layout, layout.plan.figures.values())
    assert read


def test_runs_that_several_figures_share_are_counted_once(layout: Layout) -> None:
    found = trainings(layout, layout.plan.figures.values())
    assert len(found) == 5
    assert sum(training.epochs for training in found.values()) == 4 * 4 + 3


def epochs_of(layout: Layout, run: RunProduct) -> tuple[int, bool] | None:
    """Those trained for a run, and whether for its measures only."""
    layout.runs[run.folder] = run
    found: Training | None = trainings(layout, [run], []).get(run.folder)
    return found and (found.epochs, found.is_replay)


Kept = dict[str, Collection[Measure]]
EVERY_2, EVERY = Checkpoints(interval=2), Checkpoints()


@pytest.mark.parametrize(
    ("kept", "wanted", "expected"),
    [
        # Of ten epochs, where the store has other versions.
        ({}, [Metrics()], (10, False)),
        ({"e6": [Metrics()]}, [Metrics()], (4, False)),
        ({"e6": [Metrics()], "e8": [Metrics()]}, [Metrics()], (2, False)),
        ({"e10": [Metrics()]}, [Metrics()], None),
        ({"e12": [Metrics()]}, [Metrics()], None),
        # A shorter version lacks a measure: on from its end, then all again.
        ({"e6": []}, [Metrics()], (4 + 10, False)),
        ({"e6": [Metrics()]}, [Metrics(), Steps()], (4 + 10, False)),
        ({"e6": [], "e4": [Metrics()]}, [Metrics()], (4 + 6, False)),
        ({"e6": [Metrics(), EVERY_2]}, [Metrics(), EVERY_2], (4, False)),
        ({"e6": [Metrics(), EVERY]}, [Metrics(), EVERY_2], (4 + 10, False)),
        # Metrics are computed at checkpoints if all are kept, from the run's start on.
        ({"e6": [EVERY]}, [Metrics(), EVERY], (4, False)),
        ({"e6": [EVERY]}, [Metrics(), Steps(), EVERY], (4 + 10, False)),
        ({"e6": [EVERY_2]}, [Metrics(), EVERY_2], (4 + 10, False)),
        # The run is there, without a measure.
        ({"e10": []}, [Metrics()], (10, True)),
        ({"e10": [], "e7": [Metrics()]}, [Metrics()], (3, True)),
        ({"e10": [], "e7": []}, [Metrics()], (10, True)),
        ({"e10": [EVERY]}, [Metrics()], None),
        ({"e10": [EVERY]}, [Metrics(), FullGradientNorm()], None),
        ({"e10": [EVERY]}, [Metrics(), Steps()], (10, True)),
        ({"e10": [EVERY_2]}, [Metrics()], (10, True)),
        ({"e10": [EVERY]}, [Checkpoints(interval=3)], None),
        ({"e10": [EVERY_2]}, [Checkpoints(interval=3)], (10, True)),
        # A longer version lacks it: this length is made, following that one.
        ({"e12": []}, [Metrics()], (10, True)),
        ({"e12": [Steps()]}, [Metrics(), Steps()], (10, True)),
        ({"e12": [EVERY]}, [Metrics()], (10, True)),
        ({"e12": [], "e7": [Metrics()]}, [Metrics()], (3, True)),
        # Measures of two trajectories are not read together.
        ({"e10": [Metrics()], "e10.2": [Steps()]}, [Metrics(), Steps()], (10, True)),
        ({"e10": [Metrics()], "e10.2": [Metrics(), Steps()]}, [Metrics(), Steps()], None),
    ],
)
def test_the_epochs_that_a_job_trains(
    kept: Kept, wanted: list[Measure], expected: tuple[int, bool] | None, project: Project
) -> None:
    layout = project.layout()
    run = replace(named(layout, RUN_01), epochs=10, measures=(), shorter=None)
    for version, measures in kept.items():
        folder = project.store / run.identity.folder / version
        put(folder, run.identity, RUN_FILES)
        for measure in measures:
            identity = measure_identity(measure, run.identity)
            put(folder / identity.label, identity, MEASURE_FILES)
    assert epochs_of(layout, run.with_measures(wanted)) == expected


def test_training_does_not_go_on_from_a_version_without_its_state(project: Project) -> None:
    layout = project.layout()
    run = replace(named(layout, RUN_01), epochs=10, shorter=None)
    folder = make(replace(run, epochs=6), project.store)
    assert epochs_of(layout, run) == (4, False)
    (folder / STATE).unlink()
    assert epochs_of(layout, run) == (10, False)


def test_a_planned_shorter_version_is_gone_on_from(project: Project) -> None:
    layout = project.layout()
    shorter = named(layout, RUN_01)
    longer = replace(shorter, epochs=7, shorter=shorter)
    layout.runs[longer.folder] = longer
    found = trainings(layout, [longer], [])
    assert {folder: one.epochs for folder, one in found.items()} == {
        shorter.folder: 4,
        longer.folder: 3,
    }
    make(shorter, project.store)
    assert epochs_of(layout, longer) == (3, False)
    # Once the shorter one is read from the longer one, it is not trained any more.
    make(longer, project.store)
    shutil.rmtree(project.store / shorter.folder)
    assert trainings(layout, [shorter, longer], []) == {}
