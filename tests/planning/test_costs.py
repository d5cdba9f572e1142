"""Estimates come from finished runs of the same shape, of this hardware if there are any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perigee.blocks.datasets import Dataset
from perigee.blocks.measures import Checkpoints, Metrics
from perigee.configuration.runs import resolved_run
from perigee.data.building import build_dataset
from perigee.identity.products import Identity, measure_identity
from perigee.planning import costs
from perigee.planning.costs import Cost, Record, estimate, read_records, total
from perigee.planning.products import DatasetProduct, RunProduct
from perigee.planning.shapes import shape_of
from perigee.registry import REGISTRY
from perigee.store.provenance import PROVENANCE
from support.planning import put, trained

HERE = "this processor"


def run(width: int = 8, seed: int = 3, epochs: int = 10, **rule: float) -> RunProduct:
    optimiser = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.01} | rule
    spec = resolved_run(
        {
            "dataset": {"name": "digits"},
            "model": {"name": "convnet", "scale_invariant": True, "width": width},
            "optimiser": optimiser,
            "batch_size": 128,
            "seed": seed,
        },
        "run",
        "file",
    )
    return RunProduct(spec, DatasetProduct(spec.dataset), epochs, (Metrics(),))


def keeping(product: RunProduct, interval: int) -> RunProduct:
    return replace(product, measures=(Checkpoints(interval=interval), Metrics()))


def shape(product: RunProduct) -> str:
    return shape_of(product.spec.to_dict())


def record(seconds: float, hardware: str = HERE, width: int = 8) -> Record:
    return Record(shape(run(width)), seconds, 100.0, hardware)


@pytest.fixture(autouse=True)
def _this_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "hardware", lambda: {"processor": HERE})


def test_learning_rate_weight_decay_and_seed_do_not_matter_to_the_cost() -> None:
    assert shape(run(learning_rate=3, weight_decay=0, seed=9)) == shape(run())
    assert shape(run(momentum=0.9)) != shape(run())
    assert shape(run(width=4)) != shape(run())


def test_the_median_of_records_from_here_counts() -> None:
    records = [record(1), record(2), record(9), record(50, "elsewhere"), record(70, width=4)]
    assert estimate(run(), 10, records) == Cost(20, 1000, HERE)


def test_records_from_elsewhere_are_better_than_none() -> None:
    assert estimate(run(), 10, [record(5, "elsewhere")]) == Cost(50, 1000, "elsewhere")


def test_without_a_record_there_is_no_time() -> None:
    # 1,437 digits are 12 mini-batches of 128; of each step a loss of 8 bytes is kept.
    assert estimate(run(), 10, [record(5, width=4)]) == Cost(None, 8 * 12 * 10, "")


def test_a_sum_with_an_unknown_time_has_none() -> None:
    known, unknown = Cost(5, 10, HERE), Cost(None, 20, "")
    assert total([known, known]) == Cost(10, 20, HERE)
    assert total([known, unknown]) == Cost(None, 30, HERE)
    assert total([]) == Cost(0, 0, "")


def keep(
    store: Path, product: RunProduct, details: dict[str, Any], *, size: int = 0, version: str = ""
) -> Path:
    """A version of a run, whose only file has that size."""
    folder = store / product.identity.folder / (version or f"e{product.epochs}")
    return put(folder, product.identity, ["losses.npy"], content="x" * size, **details)


def keep_measure(version: Path, identity: Identity, size: int) -> None:
    put(version / identity.label, identity, ["rows.npy"], content="x" * size)


def test_records_are_read_from_the_provenance_of_trained_runs(tmp_path: Path) -> None:
    product = run()
    keep(tmp_path, run(epochs=4), trained(4, 2.0), size=40)
    went_on = {**trained(10), "trained_epochs": 6, "seconds": 30.0}
    keep(tmp_path, product, went_on, size=40)
    keep(tmp_path, product, {**trained(2), "trained_epochs": 0}, version="e2")
    damaged = tmp_path / "run/other-0123456789abcdef/e1"
    damaged.mkdir(parents=True)
    (damaged / PROVENANCE).write_text("{")
    found = read_records(tmp_path)
    # One whose epochs were all there tells nothing of training.
    assert sorted((one.seconds_per_epoch, one.bytes_per_epoch) for one in found) == [
        (2, 10),
        (5, 4),
    ]
    assert {one.shape for one in found} == {shape(product)}
    assert {one.hardware for one in found} == {"a test's"}


def test_without_a_store_there_are_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nowhere") == []


def test_runs_of_an_earlier_version_of_perigee_tell_nothing(tmp_path: Path) -> None:
    """Their networks and steps differed, and they record their cost differently."""
    product = run()
    folder = tmp_path / product.identity.folder / "e4"
    put(folder, product.identity, ["metrics.parquet"], store_format=1, trained_epochs=4)
    assert read_records(tmp_path) == []


@pytest.mark.parametrize(("name", "images"), [("digits", 1437), ("digit_pairs", 2000)])
def test_a_data_sets_block_knows_how_many_training_images_there_are(name: str, images: int) -> None:
    block = REGISTRY["dataset"][name]
    assert issubclass(block, Dataset)
    built = build_dataset(block(), Path("unused"), download=False)
    assert block().train_images == images == len(built.splits["train"].labels)


def test_checkpoints_take_room_where_they_are_kept() -> None:
    with_checkpoints = Record(shape(run()), 1, 100.0, HERE, bytes_per_checkpoint=7.0)
    records = [with_checkpoints, record(1)]
    assert estimate(run(), 10, records).bytes == 1000
    assert estimate(keeping(run(), 2), 10, records).bytes == 1000 + 5 * 7
    assert estimate(keeping(run(), 2), 10, [record(1)]).bytes == 1000


def test_measures_are_counted_and_checkpoints_told_apart(tmp_path: Path) -> None:
    product = run()
    version = keep(tmp_path, product, trained(10), size=50)
    keep_measure(version, measure_identity(Metrics(), product.identity), 20)
    # After epochs 0, 4, 8 and 10; and, since an edit of the configuration, after each.
    keep_measure(version, measure_identity(Checkpoints(interval=4), product.identity), 4 * 80)
    keep_measure(version, measure_identity(Checkpoints(), product.identity), 11 * 80)
    (found,) = read_records(tmp_path)
    assert found.bytes_per_epoch == 7
    assert found.bytes_per_checkpoint == 80


def test_a_measure_that_is_being_written_is_passed_over(tmp_path: Path) -> None:
    product = run()
    version = keep(tmp_path, product, trained(10), size=50)
    put(version / ".writing-x", product.identity, ["rows.npy"], content="x" * 100)
    (found,) = read_records(tmp_path)
    assert found.bytes_per_epoch == 5
