"""The submission of training runs to a cluster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from perigee.paths import ROOT
from perigee.planning.costs import Record, Source
from perigee.planning.layout import Layout
from perigee.planning.plan import make_plan
from perigee.planning.products import RunProduct
from perigee.planning.shapes import canonical, of_steps, shape_of
from perigee.planning.submission import SHORT_RUNS, is_short, minutes
from perigee.store.runs import RUN_FILES
from support.planning import FORK, RUN_01, RUN_03, SEEDS, Project, name_of, put, trained

UNKNOWN, LONGEST = 100, 350


@pytest.fixture(scope="module")
def layout() -> Layout:
    """The layout of the shipped figures."""
    return Layout(make_plan(["periodic"], "smoke"), "results")


def runs(layout: Layout) -> dict[str, RunProduct]:
    return {run.name: run for run in layout.runs.values()}


def test_steps_are_counted_from_the_first_on(layout: Layout) -> None:
    # 1,437 digits are 11 mini-batches of 128 and one of 29; the other data sets have 2,000 images.
    per_epoch = {"digits": 12, "digit_pairs": 16}
    for run in runs(layout).values():
        full = run.spec.gradient == "full_batch"
        assert run.spec.batch_size == 128
        steps = run.epochs * (1 if full else per_epoch[run.spec.dataset.name])
        assert is_short(run, steps)
        assert not is_short(run, steps - 1)


def test_short_runs_that_start_from_nothing_are_a_group(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.sweep("fig4")["epochs"] = 9
    layout = project.layout()
    found = {name_of(run): layout.group(version, 12 * 9) for version, run in runs(layout).items()}
    longer = RUN_01.replace("/e4", "/e9")
    assert found == {
        **dict.fromkeys((RUN_01, RUN_03, *SEEDS), SHORT_RUNS),
        FORK: None,  # waits for its parent
        longer: None,  # waits for a shorter version
    }
    assert layout.runs
    project.make()
    after = project.layout()
    again = {name_of(run): after.group(version, 12 * 9) for version, run in runs(after).items()}
    assert again == found, "a group is settled by the configuration alone"


@pytest.mark.parametrize("steps", [0, 47])
def test_a_run_of_more_steps_goes_alone(steps: int, tmp_path: Path) -> None:
    layout = Project(tmp_path).layout()
    four_epochs_of_twelve = [v for v, run in runs(layout).items() if run.epochs == 4]
    assert four_epochs_of_twelve
    assert {layout.group(version, steps) for version in four_epochs_of_twelve} == {None}
    assert {layout.group(version, 48) for version in four_epochs_of_twelve} == {SHORT_RUNS}


@pytest.mark.parametrize(
    ("seconds_per_epoch", "attempt", "expected"),
    [
        (90, 1, 22),  # 4 epochs take 6 minutes; twice that, and 10
        (90, 3, 66),
        (91, 1, 23),  # rounded up
        (0, 1, 10),
        (None, 1, UNKNOWN),
        (None, 2, 2 * UNKNOWN),
        (None, 4, LONGEST),
        (3600, 1, LONGEST),
    ],
)
def test_the_time_limit_is_twice_what_finished_runs_took(
    seconds_per_epoch: float | None, attempt: int, expected: int, layout: Layout
) -> None:
    run = next(run for run in runs(layout).values() if run.epochs == 4)
    shape = shape_of(run.spec.to_dict())
    other = [Record("of another kind", 1e6, 1, "any")]
    records = [] if seconds_per_epoch is None else [Record(shape, seconds_per_epoch, 1, "any")]
    found = minutes(run, records + other, attempt, unknown=UNKNOWN, longest=LONGEST)
    assert found == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    # Seconds of an epoch; 4 epochs of 90 s take 6 minutes, of 450 s half an hour; and 10.
    [
        ({Source.RUN: 90}, 2 * 6 + 10),
        ({Source.CALIBRATION: 90}, 3 * 6 + 10),
        # Of two devices, nobody knows which one the job gets.
        ({Source.RUN: 450, Source.CALIBRATION: 90}, 2 * 30 + 10),
        ({Source.RUN: 90, Source.CALIBRATION: 450}, 3 * 30 + 10),
        # A guess raises what there is without it, and is of no use where something was measured.
        ({Source.GUESS: 90}, UNKNOWN),
        ({Source.GUESS: 450}, 8 * 30 + 10),
        ({Source.RUN: 90, Source.GUESS: 450}, 2 * 6 + 10),
    ],
)
def test_what_is_known_less_well_gets_a_longer_limit(
    seconds: dict[Source, float], expected: int, layout: Layout
) -> None:
    run = next(run for run in runs(layout).values() if run.epochs == 4)
    told = [measure.to_dict() for measure in run.measures]
    measures = (canonical(told), of_steps(told))
    known = [
        Record(shape_of(run.spec.to_dict()), each, None, source.name, None, source, measures)
        for source, each in seconds.items()
    ]
    assert minutes(run, known, 1, unknown=UNKNOWN, longest=LONGEST) == expected


def test_time_limits_come_from_the_store(layout: Layout, tmp_path: Path) -> None:
    version, run = next((v, run) for v, run in runs(layout).items() if run.epochs == 4)
    put(tmp_path / "store" / run.folder, run.identity, RUN_FILES, **trained(4, 60.0))
    known = Layout(layout.plan, str(tmp_path))
    # Four minutes: twice that, and 10.
    assert known.run_minutes(version, 1, unknown=UNKNOWN, longest=LONGEST) == 18


def test_without_finished_runs_nothing_is_known(layout: Layout, tmp_path: Path) -> None:
    empty = Layout(layout.plan, str(tmp_path))
    found = {
        empty.run_minutes(version, 1, unknown=UNKNOWN, longest=LONGEST) for version in runs(layout)
    }
    assert found == {UNKNOWN}


def test_the_profile_asks_for_rules_that_there_are() -> None:
    """Snakemake silently ignores resources of a rule that does not exist."""
    rules = {
        name
        for file in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)
    }
    profile = yaml.safe_load((ROOT / "slurm/profile.yaml").read_text())
    assert set(profile["set-resources"]) <= rules
    on_gpus = {name for name, asked in profile["set-resources"].items() if "gres" in asked}
    takes_device = {
        re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)[0]
        for file in (ROOT / "workflow/rules").glob("*.smk")
        if "--device" in file.read_text()
    }
    assert on_gpus == takes_device == {"train_run", "evaluate_run", "calibrate_runs"}
