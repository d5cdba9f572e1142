"""perigee.progress: what lines and notes say and how often they come."""

from __future__ import annotations

import json
import logging
import os
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perigee import progress
from perigee.progress import RunProgress, noted_in
from perigee.store.progress import PROGRESS, Progress, read_progress, write_progress
from perigee.training.recording import Position


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # The module's own name for the module `time`: pytest itself keeps the real one.
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="perigee")
    return caplog


def record_of(epochs: int, planned: int, steps_per_epoch: int = 12, loss: float = 0.12345) -> Any:
    """The part of a recorder that a progress line reads."""
    return SimpleNamespace(
        position=Position(epoch=epochs, measured=True, steps=epochs * steps_per_epoch),
        latest={"metrics": {"train_loss": loss, "test_error": 0.0625, "weight_norm": 5.4321}},
        last_losses=np.ones(steps_per_epoch),
        is_done=epochs == planned,
    )


START = Position()


def test_a_line_tells_epoch_loss_error_norm_speed_and_time_left(
    clock: Clock, lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    follow = RunProgress("convnet-digits", 400, 10, tmp_path, START)
    follow.after_epoch(record_of(0, 400))
    clock.now += 20
    follow.after_epoch(record_of(50, 400))
    first, second = lines.messages
    assert first == ("convnet-digits: epoch 0/400, train loss 0.123, test error 6.2%, ρ 5.43")
    # 50 epochs of 12 steps in 20 s; 350 epochs are left.
    assert second == (
        "convnet-digits: epoch 50/400, train loss 0.123, test error 6.2%, ρ 5.43, "
        "30 steps/s, 2 min 20 s left"
    )


def test_lines_keep_their_distance_but_the_last_comes(
    clock: Clock, lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    follow = RunProgress("run", 9, 10, tmp_path, START)
    told = []
    for epoch in range(10):
        before = len(lines.messages)
        follow.after_epoch(record_of(epoch, 9))
        if len(lines.messages) > before:
            told.append(epoch)
        clock.now += 4
    # At 0 s, 12 s, 24 s, and the last epoch at 36 s although 10 s have passed only then.
    assert told == [0, 3, 6, 9]


def test_the_last_epoch_is_told_at_once(
    clock: Clock, lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    follow = RunProgress("run", 2, 1e9, tmp_path, START)
    for epoch in range(3):
        follow.after_epoch(record_of(epoch, 2))
        clock.now += 1
    assert [message.partition(",")[0] for message in lines.messages] == [
        "run: epoch 0/2",
        "run: epoch 2/2",
    ]
    assert lines.messages[-1].endswith("12 steps/s, 0 s left")


def test_a_stopped_run_is_told_at_once_with_its_step(
    clock: Clock, lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    follow = RunProgress("run", 100, 1e9, tmp_path, START)
    follow.after_epoch(record_of(0, 100))
    clock.now += 1
    stopped = record_of(1, 100, loss=float("nan"))
    stopped.position.stopped_at_step, stopped.is_done = 11, True
    follow.after_epoch(stopped)
    assert len(lines.messages) == 2
    assert "train loss nan" in lines.messages[-1]
    assert lines.messages[-1].endswith("; stopped: the loss of step 11 is not finite")


def test_a_continued_runs_speed_is_that_of_its_new_epochs(
    clock: Clock, lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # It is first called after the first new epoch; the 300 epochs before took no time here.
    begun = Position(epoch=300, measured=True, steps=300 * 12)
    follow = RunProgress("run", 400, 1, tmp_path, begun)
    clock.now += 4
    follow.after_epoch(record_of(301, 400))
    clock.now += 56
    follow.after_epoch(record_of(310, 400))
    first, second = lines.messages
    # The first epoch took 4 s, and 99 are left; then 10 epochs a minute, 90 epochs left.
    assert first.endswith("3 steps/s, 6 min 36 s left")
    assert second.endswith("2 steps/s, 9 min 00 s left")


@pytest.mark.parametrize(
    ("seconds_per_epoch", "expected"),
    [
        (1, "9 s left"),
        (6.6, "59 s left"),
        (6.65, "1 min 00 s left"),
        (70, "10 min 30 s left"),
        (399.99, "1 h 00 min left"),
        (1900, "4 h 45 min left"),
        (90000, "225 h 00 min left"),
    ],
)
def test_durations(
    seconds_per_epoch: float,
    expected: str,
    clock: Clock,
    lines: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    follow = RunProgress("run", 10, 1e-9, tmp_path, START)
    follow.after_epoch(record_of(0, 10))
    clock.now += seconds_per_epoch
    follow.after_epoch(record_of(1, 10))
    assert lines.messages[-1].endswith(f", {expected}")


def test_whoever_looks_from_outside_finds_what_the_last_line_told(
    clock: Clock, lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder = tmp_path / "unfinished/e400"
    follow = RunProgress("run", 400, 10, folder, START)
    with noted_in(folder, 400):
        begun = read_progress(folder)
        assert begun is not None
        assert (begun.epochs, begun.epoch, begun.process) == (400, None, os.getpid())
        assert begun.machine == platform.node()
        follow.after_epoch(record_of(0, 400))
        assert json.loads((folder / PROGRESS).read_text())["epoch"] == 0
        clock.now += 20
        follow.after_epoch(record_of(50, 400))
        clock.now += 1
        follow.after_epoch(record_of(53, 400))
        told = read_progress(folder)
    assert told is not None
    assert len(lines.messages) == 2, "no line of its own"
    # 50 epochs of 12 steps in 20 s; 350 epochs are left. An epoch takes 0.4 s, a line comes in 10.
    assert (told.epoch, told.steps_per_second, told.seconds_left) == (50, 30, 140)
    assert (told.train_loss, told.next_within) == (0.12345, 10)


def test_notes_come_no_closer_than_epochs(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="perigee")
    follow = RunProgress("run", 10, 1, tmp_path, START)
    with noted_in(tmp_path, 10):
        follow.after_epoch(record_of(0, 10))
        clock.now += 70
        follow.after_epoch(record_of(2, 10))
        told = read_progress(tmp_path)
    assert told is not None
    assert told.next_within == 35


def test_what_an_interrupted_job_noted_is_kept_but_its_speed_and_name(tmp_path: Path) -> None:
    write_progress(
        tmp_path, Progress(400, 120, 0.5, 30.0, 100.0, machine="elsewhere", process=1, job="7")
    )
    with noted_in(tmp_path, 400):
        told = read_progress(tmp_path)
    assert told is not None
    assert (told.epoch, told.train_loss) == (120, 0.5)
    assert (told.steps_per_second, told.seconds_left, told.job) == (None, None, None)
    assert (told.machine, told.process) == (platform.node(), os.getpid())


def test_notes_that_cannot_be_written_stop_nothing(
    lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file/e2"
    with noted_in(folder, 2):
        RunProgress("run", 2, 10, folder, START).after_epoch(record_of(2, 2))
    assert len(lines.messages) == 1
    assert read_progress(folder) is None
