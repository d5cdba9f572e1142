"""perigee.training.recording and loop: a run's logs, whatever happens to it."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from perigee.blocks.measures import Checkpoints, FullGradientNorm, Layers, Metrics, Steps
from perigee.errors import PerigeeError
from perigee.training import recording
from perigee.training.loop import Watch, train
from perigee.training.recording import Position, Recorder
from perigee.training.row_log import RowLog
from support.recorded import EVERY_MEASURE, Recorded, finished, live, make_recorder, recorded
from support.reference_training import Settings
from support.runs import make_trainer

PLAIN = Settings(width=1, learning_rate=0.3, momentum=0.9)
STEPS = 4
"""The number of steps in an epoch."""

OF_STEPS, OF_EPOCHS = ("losses", "steps", "layers"), ("weights", "metrics", "full_gradient_norm")


class Calls(Watch):
    """Callbacks that note every call, and after which epoch it came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def after_step(self, recorder: Recorder) -> None:
        self.seen.append(("step", recorder.position.taken))

    def within_step(self, recorder: Recorder) -> None:
        self.seen.append(("batch", recorder.position.taken))

    def while_measuring(self, recorder: Recorder) -> None:
        self.seen.append(("measuring", recorder.position.taken))

    def after_epoch(self, recorder: Recorder) -> None:
        self.seen.append(("epoch", recorder.position.epoch))


def assert_equal_rows(found: Recorded, expected: Recorded) -> None:
    assert found.rows.keys() == expected.rows.keys()
    for name, rows in expected.rows.items():
        assert found.rows[name].tobytes() == rows.tobytes(), name


# The fingerprint


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_fingerprint_is_every_loss_and_a_digest_of_the_weights_of_every_epoch(
    precision: str,
) -> None:
    digests: list[bytes] = []
    trainer = make_trainer(PLAIN, precision)

    class Digests(Watch):
        def after_epoch(self, recorder: Recorder) -> None:
            tensors = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
            weights = [tensors[name].detach().numpy() for name in sorted(tensors)]
            content = b"".join(np.ascontiguousarray(array).tobytes() for array in weights)
            digests.append(hashlib.sha256(content).hexdigest().encode())

    found = recorded(trainer, 2, Steps(), watch=Digests())
    assert found.rows["losses"].dtype == np.float64
    assert np.array_equal(found.rows["losses"], found.rows["steps"]["loss"])
    weights = found.rows["weights"]
    assert weights["epoch"].tolist() == [0, 1, 2]
    assert weights["sha256"].tolist() == digests


def test_the_digest_of_weights_does_not_depend_on_their_layout() -> None:
    first, second = (
        recorded(make_trainer(PLAIN, "float64", layout), 1).rows["weights"]
        for layout in (torch.contiguous_format, torch.channels_last)
    )
    assert first[0] == second[0]
    assert first[1] != second[1], "the last bits of a step do"


# The course of a run


def test_callbacks_come_in_the_order_of_the_run() -> None:
    watch = Calls()
    found = recorded(make_trainer(PLAIN), 2, Metrics(), watch=watch)
    # A metric pass looks at four mini-batches of training images and two of test images.
    measuring = ["measuring"] * 6
    epoch = ["step"] * STEPS + measuring + ["epoch"]
    assert [name for name, _ in watch.seen] == measuring + ["epoch"] + 2 * epoch
    assert [number for name, number in watch.seen if name == "epoch"] == [0, 1, 2]
    assert [number for name, number in watch.seen if name == "step"] == [1, 2, 3, 4] * 2
    assert found.position == Position(epoch=2, measured=True, taken=0, steps=8)


def test_a_full_batch_calls_between_its_mini_batches() -> None:
    watch = Calls()
    run = Settings(width=1, full_batch=True)
    recorded(make_trainer(run), 1, watch=watch)
    assert watch.seen == [("epoch", 0), *[("batch", 0)] * STEPS, ("step", 1), ("epoch", 1)]


def test_training_on_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = recorded(make_trainer(PLAIN), 3, *EVERY_MEASURE)
    trainer = make_trainer(PLAIN)
    recorder = make_recorder(trainer, tmp_path, 1, *EVERY_MEASURE)
    for epochs in (1, 1, 3):
        recorder.epochs = epochs
        train(trainer, recorder)
        assert recorder.is_done
        assert recorder.position.epoch == epochs
    assert_equal_rows(finished(recorder), whole)


# Rows on the device


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 100])
def test_the_rows_are_the_same_however_many_are_kept_on_the_device(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer than an epoch has steps, as many, twice as many, and whatever lies between."""
    expected = recorded(make_trainer(PLAIN, "float32"), 3, *EVERY_MEASURE)
    monkeypatch.setattr(recording, "BUFFERED_STEPS", size)
    fetched = []
    fetch = Recorder.fetch

    def counting(self: Recorder) -> None:
        fetched.append(self._buffered)
        fetch(self)

    monkeypatch.setattr(Recorder, "fetch", counting)
    assert_equal_rows(recorded(make_trainer(PLAIN, "float32"), 3, *EVERY_MEASURE), expected)
    assert max(fetched) == min(size, STEPS)
    assert sum(fetched) == 3 * STEPS


# Runs that stop


def assert_stopped(found: Recorded, finite_losses: bool = False) -> None:
    """Every log ends with the step that was not finite, or with the last step of the epoch."""
    position, rows = found.position, found.rows
    assert position.stopped_at_step is not None
    taken = position.stopped_at_step + (not finite_losses)
    assert position.steps == taken
    assert position.taken == 0
    for name in OF_STEPS:
        assert len(rows[name]) == taken, name
    for name in OF_EPOCHS:
        assert rows[name]["epoch"].tolist() == list(range(position.epoch + 1)), name
    assert rows["checkpoints"]["epoch"][-1] == position.epoch
    assert np.isfinite(rows["losses"][:-1]).all()
    assert np.isfinite(rows["losses"][-1]) == finite_losses


@pytest.mark.parametrize("learning_rate", [1e10, 1e30])
@pytest.mark.parametrize("buffered", [1, 3, 1024])
def test_a_diverging_run_stops_with_its_logs(
    learning_rate: float, buffered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "BUFFERED_STEPS", buffered)
    run = Settings(scale_invariant=False, learning_rate=learning_rate)
    watch = Calls()
    found = recorded(make_trainer(run, "float32"), 50, *EVERY_MEASURE, watch=watch)
    assert found.position.epoch < 50
    assert_stopped(found)
    told = [number for name, number in watch.seen if name == "epoch"]
    assert told == list(range(found.position.epoch + 1))


class Poisons(Watch):
    """A callback that makes the weights NaN after some step of some epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self._moment = epoch, step

    def after_step(self, recorder: Recorder) -> None:
        if (recorder.position.epoch, recorder.position.taken) == self._moment:
            recorder.trainer.parameters.values[3] = math.nan


@pytest.mark.parametrize("interval", [1, 5])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_loss_that_is_not_finite_in_mid_epoch_cuts_all_logs_of_steps(
    step: int, interval: int
) -> None:
    measures = (*EVERY_MEASURE[:-1], Checkpoints(interval=interval))
    found = recorded(make_trainer(PLAIN, "float32"), 9, *measures, watch=Poisons(1, step))
    assert found.position.stopped_at_step == STEPS + step
    assert found.position.epoch == 2
    assert_stopped(found)
    # What was before is as without the end.
    expected = recorded(make_trainer(PLAIN, "float32"), 9, *measures)
    for name in (*OF_STEPS, *OF_EPOCHS):
        count = STEPS + step if name in OF_STEPS else 2
        assert found.rows[name][:count].tobytes() == expected.rows[name][:count].tobytes()
    kept = [epoch for epoch in range(3) if epoch % interval == 0 or epoch == 2]
    assert found.rows["checkpoints"]["epoch"].tolist() == kept


def test_weights_that_are_not_finite_after_an_epoch_stop_the_run() -> None:
    found = recorded(make_trainer(PLAIN, "float32"), 9, *EVERY_MEASURE, watch=Poisons(1, STEPS))
    assert found.position.stopped_at_step == 2 * STEPS
    assert found.position.epoch == 2
    assert_stopped(found, finite_losses=True)
    assert math.isnan(found.rows["metrics"]["train_loss"][-1])


def test_an_initialisation_that_is_not_finite_takes_one_step() -> None:
    trainer = make_trainer(PLAIN, "float32")
    trainer.parameters.values[3] = math.nan
    found = recorded(trainer, 5, *EVERY_MEASURE)
    assert (found.position.stopped_at_step, found.position.epoch) == (0, 1)
    assert_stopped(found)


def test_a_stopped_run_stays_stopped(tmp_path: Path) -> None:
    trainer = make_trainer(PLAIN, "float32")
    recorder = make_recorder(trainer, tmp_path, 9, *EVERY_MEASURE)
    train(trainer, recorder, Poisons(0, 2))
    rows = {name: log.rows for name, log in recorder.logs.items()}
    watch = Calls()
    recorder.epochs = 20
    train(trainer, recorder, watch)
    assert watch.seen == []
    assert {name: log.rows for name, log in recorder.logs.items()} == rows


def test_a_stop_while_the_last_epoch_of_a_diverged_run_is_measured_cuts_all_the_same(
    tmp_path: Path,
) -> None:
    """The process that goes on takes no step itself."""
    expected = recorded(make_trainer(PLAIN, "float32"), 9, *EVERY_MEASURE, watch=Poisons(0, 2))

    class Interrupts(Poisons):
        def while_measuring(self, recorder: Recorder) -> None:
            if recorder.position.measured:
                raise KeyboardInterrupt

    trainer, again = (make_trainer(PLAIN, "float32") for _ in range(2))
    recorder = make_recorder(trainer, tmp_path, 9, *EVERY_MEASURE)
    with pytest.raises(KeyboardInterrupt):
        train(trainer, recorder, Interrupts(0, 2))
    rows = {name: told["rows"] for name, told in recorder.saved().items()}
    assert rows["losses"] == STEPS
    again.restore(trainer.state())
    resumed = Recorder(again, tmp_path, live(again, *EVERY_MEASURE), 9)
    for name, measure in resumed.measures.items():
        for part, value in recorder.measures[name].state.items():
            measure.state[part].copy_(value)
    resumed.begin(rows, recorder.position, recorder.losses_of_epoch, again=False)
    train(again, resumed)
    assert_equal_rows(finished(resumed), expected)


# A full disk


class Disk:
    """Makes `RowLog.append` fail while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, self.refused = False, 0
        append = RowLog.append

        def on_this_disk(log: RowLog, rows: np.ndarray) -> None:
            if self.full and len(rows):
                self.refused += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            append(log, rows)

        monkeypatch.setattr(RowLog, "append", on_this_disk)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class FullBetween(Watch):
    """Fills the disk after the first epoch and frees it after the second, or never."""

    def __init__(self, disk: Disk, free_after: int) -> None:
        self.disk, self.free_after = disk, free_after

    def after_epoch(self, recorder: Recorder) -> None:
        self.disk.full = 1 <= recorder.position.epoch < self.free_after


def test_a_full_disk_keeps_the_rows_in_memory_and_training_goes_on(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "BUFFERED_STEPS", 3)
    expected = recorded(make_trainer(PLAIN, "float32"), 4, *EVERY_MEASURE)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        found = recorded(
            make_trainer(PLAIN, "float32"), 4, *EVERY_MEASURE, watch=FullBetween(disk, 3)
        )
    assert disk.refused > 0
    assert "No space left on device" in caplog.text
    assert_equal_rows(found, expected)


def test_rows_that_found_no_room_are_no_saved_rows(disk: Disk, tmp_path: Path) -> None:
    trainer = make_trainer(PLAIN, "float32")
    recorder = make_recorder(trainer, tmp_path, 2, *EVERY_MEASURE)
    train(trainer, recorder, FullBetween(disk, 9))
    assert recorder.logs["losses"].rows == STEPS
    with pytest.raises(OSError, match="No space left"):
        recorder.saved()
    with pytest.raises(OSError, match="No space left"):
        recorder.close()
    disk.full = False
    assert recorder.saved()["losses"]["rows"] == 2 * STEPS


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("buffered", [1, 2, 1024])
def test_a_run_that_diverges_while_the_disk_is_full_is_cut_all_the_same(
    step: int, buffered: int, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "BUFFERED_STEPS", buffered)
    expected = recorded(make_trainer(PLAIN, "float32"), 9, *EVERY_MEASURE, watch=Poisons(1, step))

    class Both(Poisons):
        def after_epoch(self, recorder: Recorder) -> None:
            disk.full = recorder.position.epoch == 1

    found = recorded(make_trainer(PLAIN, "float32"), 9, *EVERY_MEASURE, watch=Both(1, step))
    assert disk.refused > 0
    assert_equal_rows(found, expected)
    assert_stopped(found)


# Which rows a log keeps


def test_a_log_of_fewer_rows_than_are_known_is_refused(tmp_path: Path) -> None:
    recorder = make_recorder(make_trainer(PLAIN), tmp_path, 1)
    with pytest.raises(PerigeeError, match=r"losses\.npy has 0 rows, not 4"):
        recorder.begin({"losses": 4, "weights": 0}, Position(), np.empty(0), again=False)


def test_progress_finds_the_latest_row_of_each_measure(tmp_path: Path) -> None:
    trainer = make_trainer(PLAIN)
    recorder = make_recorder(trainer, tmp_path, 2, Metrics(), FullGradientNorm(), Layers())
    train(trainer, recorder)
    rows = finished(recorder).rows
    assert recorder.latest["metrics"] == rows["metrics"][-1]
    assert recorder.latest["full_gradient_norm"] == rows["full_gradient_norm"][-1]
    assert recorder.last_losses.tolist() == rows["losses"][-STEPS:].tolist()
