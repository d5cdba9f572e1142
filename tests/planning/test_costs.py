"""Estimates come from finished runs of the same shape, of this hardware if there are any."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from perigee.identity.products import Identity
from perigee.registry import REGISTRY
from perigee.store import costs
from perigee.store.costs import Cost, Record, estimate, read_records, shape_of, total
from perigee.store.provenance import PROVENANCE, read_provenance
from perigee.store.runs import run_details
from perigee.store.writing import product_writer

HERE = "this processor"


def spec(width: int = 8, **rule: float) -> dict[str, Any]:
    optimiser = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0} | rule
    return {"model": {"name": "convnet", "width": width}, "optimiser": optimiser, "seed": 3}


def record(seconds: float, hardware: str = HERE, width: int = 8) -> Record:
    return Record(shape_of(spec(width)), seconds, 100.0, hardware)


@pytest.fixture(autouse=True)
def _this_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "hardware", lambda: {"processor": HERE})


def test_learning_rate_weight_decay_and_seed_do_not_matter_to_the_cost() -> None:
    assert shape_of(spec(learning_rate=3, weight_decay=0) | {"seed": 9}) == shape_of(spec())
    assert shape_of(spec(momentum=0.9)) != shape_of(spec())
    assert shape_of(spec(width=4)) != shape_of(spec())


def test_the_median_of_records_from_here_counts() -> None:
    records = [record(1), record(2), record(9), record(50, "elsewhere"), record(70, width=4)]
    assert estimate(spec(), 10, 12, records) == Cost(20, 1000, HERE)


def test_records_from_elsewhere_are_better_than_none() -> None:
    assert estimate(spec(), 10, 12, [record(5, "elsewhere")]) == Cost(50, 1000, "elsewhere")


def test_without_a_record_there_is_no_time() -> None:
    # Six numbers of four bytes in each of 12 rows in 10 epochs.
    assert estimate(spec(), 10, 12, [record(5, width=4)]) == Cost(None, 6 * 4 * 12 * 10, "")


def test_a_sum_with_an_unknown_time_has_none() -> None:
    known, unknown = Cost(5, 10, HERE), Cost(None, 20, "")
    assert total([known, known]) == Cost(10, 20, HERE)
    assert total([known, unknown]) == Cost(None, 30, HERE)
    assert total([]) == Cost(0, 0, "")


def test_records_are_read_from_the_provenance_of_trained_runs(tmp_path: Path) -> None:
    run = Identity("run", "r", spec(), "code", {})
    for epochs, trained in ((4, 4), (10, 6), (2, 0)):
        details = run_details(epochs, 0, None, trained)
        with product_writer(tmp_path / run.folder / f"e{epochs}", run, **details) as product:
            (product.aside / "metrics.parquet").write_bytes(b"x" * 40)
    damaged = tmp_path / "run/other-0123456789abcdef/e1"
    damaged.mkdir(parents=True)
    (damaged / PROVENANCE).write_text("{")
    found = read_records(tmp_path)
    # The one that was read off a longer version tells nothing of training.
    assert sorted(entry.bytes_per_epoch for entry in found) == [4, 10]
    assert {entry.shape for entry in found} == {shape_of(spec())}


@pytest.mark.parametrize(("name", "images"), [("digits", 1437), ("digit_pairs", 2000)])
def test_the_registry_knows_how_many_training_images_there_are(name: str, images: int) -> None:
    line = REGISTRY["dataset"][name]
    built = importlib.import_module(line.module).build(Path("unused"), download=False)
    assert line.train_images == images == len(built.train_labels)


def test_runs_made_before_interrupted_starts_were_counted_tell_the_time_of_their_job(
    tmp_path: Path,
) -> None:
    run = Identity("run", "r", spec(), "code", {})
    details = run_details(4, 0, None, 4)
    del details["seconds"]
    with product_writer(tmp_path / run.folder / "e4", run, **details):
        pass
    provenance = read_provenance(tmp_path / run.folder / "e4")
    (found,) = read_records(tmp_path)
    assert found.seconds_per_epoch == provenance.wall_time_s / 4


def test_checkpoints_take_room_where_they_are_kept() -> None:
    keeping = Record(shape_of(spec()), 1, 100.0, HERE, bytes_per_checkpoint=7.0)
    assert estimate(spec(), 10, 12, [keeping, record(1)]).bytes == 1000
    assert estimate(spec(), 10, 12, [keeping, record(1)], keep_every=2).bytes == 1000 + 5 * 7
    assert estimate(spec(), 10, 12, [record(1)], keep_every=2).bytes == 1000


def test_a_trajectory_is_told_apart_from_the_other_files(tmp_path: Path) -> None:
    identity = Identity("run", "r", spec(), "code", {})
    details = run_details(10, 3, None, 10, 5.0, keep_every=5)
    with product_writer(tmp_path / identity.folder / "e10-every5", identity, **details) as product:
        (product.aside / "metrics.parquet").write_bytes(bytes(50))
        (product.aside / "trajectory.npy").write_bytes(bytes(3 * 80))
    (found,) = read_records(tmp_path)
    assert found.bytes_per_epoch == 5
    assert found.bytes_per_checkpoint == 80
