"""What a cluster is told of training runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from perigee.layout import Layout
from perigee.plan import PlannedRun, make_plan
from perigee.store.costs import Record, shape_of
from perigee.store.runs import run_details
from perigee.store.writing import product_writer
from perigee.submission import SHORT_RUNS, minutes, planned_steps

UNKNOWN, LONGEST = 100, 350


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout(make_plan(["periodic"], "smoke"), "results")


def runs(layout: Layout) -> dict[str, PlannedRun]:
    return {folder.removeprefix("run/"): run for folder, run in layout.plan.runs.items()}


def test_steps_are_counted_from_the_first_on(layout: Layout) -> None:
    # 1,437 digits are 11 mini-batches of 128 and one of 29; the other data sets have 2,000 images.
    per_epoch = {"digits": 12, "digit_pairs": 16}
    for run in runs(layout).values():
        full = run.spec.gradient == "full_batch"
        assert run.spec.batch_size == 128
        expected = run.epochs * (1 if full else per_epoch[run.spec.dataset.name])
        assert planned_steps(run) == expected


def test_short_runs_that_start_from_nothing_are_a_group(layout: Layout) -> None:
    found = {version: layout.group(version, 48) for version in runs(layout)}
    assert set(found.values()) == {SHORT_RUNS, None}
    for version, run in runs(layout).items():
        needs_runs = any(
            path.startswith("results/store/run/") for path in layout.run_inputs(version)
        )
        assert (found[version] == SHORT_RUNS) == (planned_steps(run) <= 48 and not needs_runs)
    # Forks are there, and are among those that go alone.
    assert any(run.parent for run in runs(layout).values())


@pytest.mark.parametrize("steps", [0, 47])
def test_a_run_of_more_steps_goes_alone(steps: int, layout: Layout) -> None:
    four_epochs_of_twelve = [v for v, run in runs(layout).items() if planned_steps(run) == 48]
    assert four_epochs_of_twelve
    assert {layout.group(version, steps) for version in four_epochs_of_twelve} == {None}


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


def test_time_limits_come_from_the_store(layout: Layout, tmp_path: Path) -> None:
    version, run = next((v, run) for v, run in runs(layout).items() if run.epochs == 4)
    details = run_details(4, 0, None, 4, 240.0)
    with product_writer(tmp_path / "store" / run.folder, run.identity, **details) as product:
        (product.aside / "metrics.parquet").write_bytes(b"")
    known = Layout(layout.plan, str(tmp_path))
    # Four minutes: twice that, and 10.
    assert known.run_minutes(version, 1, unknown=UNKNOWN, longest=LONGEST) == 18


def test_without_finished_runs_nothing_is_known(layout: Layout, tmp_path: Path) -> None:
    empty = Layout(layout.plan, str(tmp_path))
    found = {
        empty.run_minutes(version, 1, unknown=UNKNOWN, longest=LONGEST) for version in runs(layout)
    }
    assert found == {UNKNOWN}
