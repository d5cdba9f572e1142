"""perigee.training.trajectory: the rows are the checkpoints."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perigee.store.trajectories import kept_at
from perigee.training.record import RunRecord
from perigee.training.trajectory import TrajectoryWriter
from reference_training import Settings
from torch import Tensor

from perigee.checkpoints import Trajectory
from perigee.errors import PerigeeError
from perigee.training.trainer import Trainer, Watch, train

MakeTrainer = Callable[..., Trainer]


@given(epochs=st.integers(0, 50), every=st.integers(1, 60))
def test_first_last_and_every_kth_epoch_are_kept(epochs: int, every: int) -> None:
    expected = [e for e in range(epochs + 1) if e % every == 0 or e == epochs]
    assert kept_at(epochs, every) == expected


def run(
    trainer: Trainer, folder: Path, epochs: int, every: int, poisoned_after: int | None = None
) -> tuple[np.ndarray, dict[str, Any], dict[int, dict[str, Tensor]], RunRecord]:
    """Rows, description, the network's state at every epoch, and the record.

    After the epoch ``poisoned_after`` the weights are made NaN, so that the next one ends the run.
    """
    writer = TrajectoryWriter(folder / "unfinished", trainer, epochs, every)
    states: dict[int, dict[str, Tensor]] = {}

    class Keeping(Watch):
        def after_epoch(self, record: RunRecord) -> None:
            writer.after_epoch(record)
            states[record.epochs] = {n: v.clone() for n, v in trainer.model.state_dict().items()}
            if record.epochs == poisoned_after:
                trainer.parameters.values.fill_(math.nan)

    record = RunRecord()
    train(trainer, epochs, record, Keeping())
    writer.finish(folder)
    shutil.rmtree(folder / "unfinished")
    assert sorted(path.name for path in folder.iterdir()) == [
        "trajectory.json",
        "trajectory.npy",
    ]
    rows = np.load(folder / "trajectory.npy", mmap_mode="r")
    described = json.loads((folder / "trajectory.json").read_text())
    return rows, described, states, record


def assert_rows_are_states(
    rows: np.ndarray, described: dict[str, Any], states: dict[int, dict[str, Tensor]]
) -> None:
    """Cut each row up as the description says and compare every part bit for bit."""
    assert len(rows) == len(described["epochs"])
    for row, epoch in zip(rows, described["epochs"], strict=True):
        start = 0
        for part in described["parts"]:
            count = int(np.prod(part["shape"]))
            value = row[start : start + count].reshape(part["shape"])
            expected = states[epoch][part["name"]].numpy()
            assert value.shape == expected.shape
            assert np.array_equal(value, expected, equal_nan=True), part["name"]
            start += count
        assert start == len(row)


@pytest.mark.parametrize(
    ("epochs", "every", "kept"),
    [(3, 2, [0, 2, 3]), (4, 2, [0, 2, 4]), (2, 1, [0, 1, 2]), (2, 5, [0, 2])],
)
@pytest.mark.parametrize("scale_invariant", [True, False])
def test_rows_equal_weights_and_statistics_at_the_kept_epochs(
    epochs: int,
    every: int,
    kept: list[int],
    scale_invariant: bool,
    make_trainer: MakeTrainer,
    tmp_path: Path,
) -> None:
    trainer = make_trainer(Settings(width=1, scale_invariant=scale_invariant), "float32")
    rows, described, states, _ = run(trainer, tmp_path, epochs, every)
    assert described["epochs"] == kept
    assert_rows_are_states(rows, described, states)
    # Not the same row again and again, as with views instead of copies.
    assert all(not np.array_equal(rows[0], row) for row in rows[1:])


def test_the_layout_names_trained_parameters_then_statistics(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(Settings(width=1, scale_invariant=False))
    _, described, _, _ = run(trainer, tmp_path, 1, 1)
    parts = [(part["name"], part["shape"]) for part in described["parts"]]
    parameters = {n: list(p.shape) for n, p in trainer.model.named_parameters()}
    statistics = [
        (name, list(value.shape))
        for name, value in trainer.model.named_buffers()
        if not name.endswith("num_batches_tracked")
    ]
    assert len(statistics) == 8
    assert parts[len(parameters) :] == statistics
    assert dict(parts[: len(parameters)]) == parameters
    # The scale-invariant ones, the four kernels, first: so that they are one slice of a row.
    assert [len(shape) for _, shape in parts[:4]] == [4, 4, 4, 4]
    assert all(len(shape) < 4 for _, shape in parts[4:])


def test_frozen_parameters_are_left_out(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(Settings(width=1))
    _, described, _, _ = run(trainer, tmp_path, 1, 1)
    named = {part["name"] for part in described["parts"]}
    frozen = {n for n, p in trainer.model.named_parameters() if not p.requires_grad}
    assert frozen
    assert not frozen & named


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_file_opens_memory_mapped_in_the_runs_precision(
    precision: str, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    rows, _, _, _ = run(make_trainer(Settings(width=1), precision), tmp_path, 2, 1)
    assert isinstance(rows, np.memmap)
    assert rows.dtype == precision


@pytest.mark.parametrize(
    ("every", "kept"),
    [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3, 4]), (7, [0, 4])],
)
def test_a_stopped_run_has_the_rows_it_came_to(
    every: int, kept: list[int], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(Settings(width=1), "float32")
    rows, described, states, record = run(trainer, tmp_path, 9, every, poisoned_after=3)
    assert record.stopped_at_step is not None
    assert record.epochs == 4
    assert described["epochs"] == kept
    assert isinstance(rows, np.memmap)
    assert_rows_are_states(rows, described, states)
    assert np.isfinite(rows[:-1]).all()
    assert not np.isfinite(rows[-1]).all()


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [((4, 1), (3, 2)), ((4, 1), (4, 3)), ((4, 2), (2, 2)), ((4, 3), (3, 6)), ((4, 1), (4, 9))],
)
def test_a_copy_of_some_checkpoints_is_what_training_would_have_written(
    longer: tuple[int, int], shorter: tuple[int, int], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("longer", "shorter", "copy")]
    for folder, version in zip(folders, (longer, shorter), strict=False):
        run(make_trainer(Settings(width=1), "float32"), folder, *version)
    folders[2].mkdir()
    Trajectory.of_run(folders[0]).copy(folders[2], kept_at(*shorter))
    for name in ("trajectory.npy", "trajectory.json"):
        assert (folders[2] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_a_checkpoint_that_was_not_kept_cannot_be_copied(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    run(make_trainer(Settings(width=1), "float32"), tmp_path, 3, 2)
    with pytest.raises(PerigeeError, match="no checkpoint of epoch 1, only of 0, 2, 3"):
        Trajectory.of_run(tmp_path).copy(tmp_path, [0, 1])
