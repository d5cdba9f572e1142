"""Interrupted anywhere and resumed equals uninterrupted, to the bit."""

from __future__ import annotations

import itertools
import logging
import math
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from perigee.store.trajectories import TRAJECTORY_FILES
from perigee.training.record import RunRecord
from perigee.training.resuming import resume
from perigee.training.trajectory import TrajectoryWriter, unfinished_rows
from reference_training import Settings
from torch import Tensor

from perigee.errors import StoppedBySignalError
from perigee.interruption import StopRequest, stop_request
from perigee.jobs.watching import RunWatch
from perigee.progress import RunProgress
from perigee.store.runs import unfinished_folder, version_name
from perigee.training import saved_state
from perigee.training.saved_state import GENERATIONS, SavedState, read_states
from perigee.training.trainer import Trainer
from perigee.training.trainer import train as train_on

DIGEST = "0123456789abcdef"
EPOCHS, STEPS = 3, 4
PLAIN = Settings(width=1, learning_rate=0.3, weight_decay=0.05)
MOMENTUM = Settings(width=1, learning_rate=0.05, momentum=0.9)
SPHERE = Settings(width=1, norm=3.0, cosine_horizon=5)
STANDARD = Settings(width=1, scale_invariant=False, momentum=0.9)
DIVERGING = Settings(width=1, scale_invariant=False, learning_rate=1e30)

AUGMENTED = Settings(width=1, momentum=0.9, padding=2, label_smoothing=0.1)
FULL_BATCH = Settings(width=1, momentum=0.9, padding=1, full_batch=True)
ADAM = Settings(width=1, scale_invariant=False, learning_rate=0.01, optimiser="adam")

Make = Callable[[Settings], Trainer]


@pytest.fixture
def make(make_trainer: Callable[..., Trainer]) -> Make:
    return lambda settings: make_trainer(settings, precision="float32")


class StopsAt(RunWatch):
    """Is told to stop at the n-th event.

    These are steps, mini-batches of a full batch or a metric pass, and ends of epochs.
    """

    countdown = math.inf

    def _event(self) -> None:
        self.countdown -= 1
        if self.countdown == 0:
            self._stop.note(signal.SIGTERM)

    def after_step(self, record: RunRecord, rows: Tensor) -> None:
        self._event()
        super().after_step(record, rows)

    def within_step(self, record: RunRecord) -> None:
        self._event()
        super().within_step(record)

    def while_measuring(self, record: RunRecord) -> None:
        self._event()
        super().while_measuring(record)

    def after_epoch(self, record: RunRecord) -> None:
        self._event()
        super().after_epoch(record)


def job(
    trainer: Trainer,
    folder: Path,
    *,
    stop_at: float = math.inf,
    save_interval: float = math.inf,
    epochs: int = EPOCHS,
    every: int | None = 1,
) -> tuple[SavedState, StopsAt]:
    """As perigee.jobs.training does, but for the files of a finished run."""
    unfinished = unfinished_folder(folder, version_name(epochs, every))
    trajectory = every and TrajectoryWriter(unfinished, trainer, epochs, every)
    state = resume(trainer, folder, epochs, DIGEST, trajectory or None)
    progress = RunProgress("run", epochs, 1e9)
    watch = StopsAt(
        trainer, state, unfinished, save_interval, progress, StopRequest(), trajectory or None, {}
    )
    watch.countdown = stop_at
    train_on(trainer, epochs, state.record, watch)
    if trajectory:
        trajectory.finish(folder)
    return state, watch


def events(make: Make, settings: Settings, folder: Path) -> int:
    _, watch = job(make(settings), folder, stop_at=1e9)
    return int(1e9 - watch.countdown)


def assert_equal_runs(
    one: tuple[Trainer, RunRecord, Path], other: tuple[Trainer, RunRecord, Path]
) -> None:
    (trainer, record, folder), (trainer_2, record_2, folder_2) = one, other
    for name, value in trainer.state().items():
        assert torch.equal(value.nan_to_num(7), trainer_2.state()[name].nan_to_num(7)), name
    for table in ("metrics_table", "steps_table"):
        tables = getattr(record, table)(), getattr(record_2, table)()
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert record.stopped_at_step == record_2.stopped_at_step
    for name in TRAJECTORY_FILES:
        assert (folder / name).read_bytes() == (folder_2 / name).read_bytes()


@pytest.mark.parametrize(
    "settings", [PLAIN, MOMENTUM, ADAM, SPHERE, STANDARD, DIVERGING, AUGMENTED, FULL_BATCH]
)
def test_stopped_at_any_event_and_resumed_equals_uninterrupted(
    settings: Settings, make: Make, tmp_path: Path
) -> None:
    """Steps, the last of the last epoch too, mini-batches of full batches and metric passes, ..."""
    whole = make(settings)
    uninterrupted, _ = job(whole, tmp_path / "whole")
    for position in range(1, events(make, settings, tmp_path / "counted") + 1):
        folder = tmp_path / str(position)
        with pytest.raises(StoppedBySignalError, match="SIGTERM"):
            job(make(settings), folder, stop_at=position)
        trainer = make(settings)
        resumed, _ = job(trainer, folder)
        assert_equal_runs(
            (trainer, resumed.record, folder), (whole, uninterrupted.record, tmp_path / "whole")
        )


@pytest.mark.parametrize(("settings", "per_epoch"), [(PLAIN, STEPS), (FULL_BATCH, STEPS + 1)])
def test_a_full_batch_can_be_stopped_between_its_mini_batches(
    settings: Settings, per_epoch: int, make: Make, tmp_path: Path
) -> None:
    """And after its step; there are as many mini-batches in a metric pass, and the epoch's end."""
    measuring = STEPS + 1
    assert events(make, settings, tmp_path) == measuring + EPOCHS * (per_epoch + measuring)


def test_what_was_done_is_not_done_again(make: Make, tmp_path: Path) -> None:
    total = events(make, PLAIN, tmp_path / "counted")
    for position in (7, total // 2, total - 1):
        folder = tmp_path / str(position)
        with pytest.raises(StoppedBySignalError):
            job(make(PLAIN), folder, stop_at=position)
        _, watch = job(make(PLAIN), folder, stop_at=1e9)
        again = int(1e9 - watch.countdown)
        # At most a metric pass is measured again.
        assert total - position <= again <= total - position + STEPS


def test_stopped_again_and_again(make: Make, tmp_path: Path) -> None:
    whole = make(MOMENTUM)
    uninterrupted, _ = job(whole, tmp_path / "whole")
    starts = 0
    resumed = None
    while resumed is None:
        trainer = make(MOMENTUM)
        starts += 1
        # Six events, since of a metric pass with its four none is kept.
        with suppress(StoppedBySignalError):
            resumed, _ = job(trainer, tmp_path / "often", stop_at=6)
    assert starts > EPOCHS
    assert_equal_runs(
        (trainer, resumed.record, tmp_path / "often"),
        (whole, uninterrupted.record, tmp_path / "whole"),
    )


def test_a_longer_job_goes_on_from_the_interrupted_shorter_one(make: Make, tmp_path: Path) -> None:
    whole = make(MOMENTUM)
    uninterrupted, _ = job(whole, tmp_path / "whole", epochs=4)
    with pytest.raises(StoppedBySignalError):
        job(make(MOMENTUM), tmp_path / "run", stop_at=20, epochs=2)
    trainer = make(MOMENTUM)
    resumed, watch = job(trainer, tmp_path / "run", epochs=4, stop_at=1e9)
    assert 1e9 - watch.countdown < events(make, MOMENTUM, tmp_path / "counted")
    assert_equal_runs(
        (trainer, resumed.record, tmp_path / "run"),
        (whole, uninterrupted.record, tmp_path / "whole"),
    )


def test_a_shorter_job_leaves_the_state_of_a_longer_one_alone(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(StoppedBySignalError):
        job(make(PLAIN), folder, stop_at=25, epochs=4)
    kept = {p: p.read_bytes() for p in unfinished_folder(folder, "e4-every1").iterdir()}
    job(make(PLAIN), folder, epochs=1)
    assert {p: p.read_bytes() for p in unfinished_folder(folder, "e4-every1").iterdir()} == kept


def test_without_its_trajectory_a_state_is_of_no_use_to_one_who_keeps_it(
    make: Make, tmp_path: Path
) -> None:
    with pytest.raises(StoppedBySignalError):
        job(make(PLAIN), tmp_path, stop_at=20, epochs=2, every=None)
    _, watch = job(make(PLAIN), tmp_path, epochs=3, stop_at=1e9)
    assert int(1e9 - watch.countdown) == events(make, PLAIN, tmp_path / "counted")


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_state_whose_trajectory_is_lost_is_not_gone_on_from(
    damage: str, make: Make, tmp_path: Path
) -> None:
    """Its checkpoints could not be had again; training anew gives them."""
    with pytest.raises(StoppedBySignalError):
        job(make(PLAIN), tmp_path / "run", stop_at=25)
    rows = unfinished_folder(tmp_path / "run", f"e{EPOCHS}-every1") / unfinished_rows(1)
    rows.unlink() if damage == "removed" else os.truncate(rows, rows.stat().st_size // 2)
    trainer, whole = make(PLAIN), make(PLAIN)
    resumed, _ = job(trainer, tmp_path / "run")
    uninterrupted, _ = job(whole, tmp_path / "whole")
    assert_equal_runs(
        (trainer, resumed.record, tmp_path / "run"),
        (whole, uninterrupted.record, tmp_path / "whole"),
    )


# Saving


@pytest.fixture
def saved(make: Make, tmp_path: Path) -> Path:
    """A folder with two generations."""
    with pytest.raises(StoppedBySignalError):
        job(make(MOMENTUM), tmp_path, stop_at=17, save_interval=0, every=None)
    folder = unfinished_folder(tmp_path, f"e{EPOCHS}")
    assert {path.name for path in folder.iterdir()} == set(GENERATIONS)
    return folder


def steps_of(folder: Path) -> list[int]:
    return [state.steps for state in read_states(folder, DIGEST)]


def test_two_generations_are_kept(saved: Path) -> None:
    assert steps_of(saved) == [7, 6]


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "header", "description", "foreign"])
def test_an_unusable_state_is_set_aside_and_the_one_before_is_used(
    damage: str, saved: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    _, before = steps_of(saved)
    path = saved / GENERATIONS[0]
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "changed":
        content[-5] ^= 1
    elif damage == "header":
        content[3] ^= 0xFF
    elif damage == "description":
        content = content.replace(b"seconds", b"sekonds", 1)
    else:
        content = content.replace(DIGEST.encode(), b"f" * 16)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert steps_of(saved) == [before]
    (warning,) = [entry.getMessage() for entry in caplog.records]
    assert str(path) in warning
    (aside,) = saved.glob(f"{path.name}.unusable-*")
    assert aside.read_bytes() == content
    resumed, _ = job(make(MOMENTUM), saved.parents[1], every=None)
    whole, _ = job(make(MOMENTUM), saved / "whole", every=None)
    expected = whole.record.steps_table()
    pd.testing.assert_frame_equal(resumed.record.steps_table(), expected, check_exact=True)


def test_a_foreign_state_is_not_used(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert not list(read_states(saved, "f" * 16))
    assert caplog.text.count(f"belongs to another run ({DIGEST})") == 2


@pytest.mark.parametrize("moment", ["half written", "before the renaming", "between the renamings"])
def test_an_exception_in_the_middle_of_a_save_loses_nothing(
    moment: str,
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every third save breaks; training goes on, and from what is saved it can be resumed."""
    saves = itertools.count(1)
    real_save, real_replace = saved_state.save_file, Path.replace
    broken = False

    def save(tensors: dict[str, Tensor], path: Path, about: dict[str, str]) -> None:
        nonlocal broken
        broken = next(saves) % 3 == 0
        real_save(tensors, path, about)
        if broken and moment == "half written":
            os.truncate(path, 200)
            raise RuntimeError("broken")

    def replace(self: Path, target: Path) -> Path:
        first = self.name == GENERATIONS[0]
        if broken and ((moment == "before the renaming") == first):
            raise OSError("broken")
        return real_replace(self, target)

    monkeypatch.setattr(saved_state, "save_file", save)
    monkeypatch.setattr(Path, "replace", replace)
    with (
        caplog.at_level(logging.WARNING, logger="perigee"),
        pytest.raises(StoppedBySignalError),
    ):
        job(make(STANDARD), tmp_path, stop_at=24, save_interval=0)
    assert next(saves) > 6
    assert "could not be saved" in caplog.text
    monkeypatch.undo()
    assert 1 <= len(steps_of(unfinished_folder(tmp_path, f"e{EPOCHS}-every1"))) <= 2
    assert not list(unfinished_folder(tmp_path, f"e{EPOCHS}-every1").glob(".latest*"))
    trainer, whole = make(STANDARD), make(STANDARD)
    resumed, _ = job(trainer, tmp_path)
    uninterrupted, _ = job(whole, tmp_path / "whole")
    assert_equal_runs(
        (trainer, resumed.record, tmp_path), (whole, uninterrupted.record, tmp_path / "whole")
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("a tmpfs cannot be mounted; run as root")
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_while_saving_loses_nothing(
    small_disk: Path, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoppedBySignalError):
        job(make(STANDARD), small_disk, stop_at=12, save_interval=0, every=None)
    before = steps_of(unfinished_folder(small_disk, f"e{EPOCHS}"))
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(b"0" * free)
    with (
        caplog.at_level(logging.WARNING, logger="perigee"),
        pytest.raises(StoppedBySignalError, match="could not be saved"),
    ):
        job(make(STANDARD), small_disk, stop_at=8, save_interval=0, every=None)
    assert "No space left" in caplog.text
    assert steps_of(unfinished_folder(small_disk, f"e{EPOCHS}")) == before
    filler.unlink()
    resumed, _ = job(make(STANDARD), small_disk, every=None)
    whole, _ = job(make(STANDARD), tmp_path / "whole", every=None)
    for table in ("metrics_table", "steps_table"):
        expected = getattr(whole.record, table)()
        found = getattr(resumed.record, table)()
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_no_room_for_a_trajectory_is_told_at_once(small_disk: Path, make: Make) -> None:
    with pytest.raises(OSError, match="No space"):
        TrajectoryWriter(small_disk, make(STANDARD), 10**6, 1)


def test_a_saved_state_survives_the_way_to_the_disk_and_back(make: Make, tmp_path: Path) -> None:
    trainer = make(STANDARD)
    record = RunRecord(
        metrics=[{"epoch": 0, "train_loss": math.nan, "weight_norm": 1 / 3, "test_loss": math.inf}],
        steps=[np.arange(8, dtype=np.float32).reshape(2, 4), np.ones((1, 4), np.float32)],
        stopped_at_step=2,
        unfinished=np.full((1, 4), 0.1, np.float32),
    )
    sessions = ({"started": "now"},)
    state = SavedState(DIGEST, trainer.state(), record, 1.5, sessions, 7)
    state.save(tmp_path)
    (found,) = read_states(tmp_path, DIGEST)
    assert found.tensors.keys() == state.tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in state.tensors.items())
    np.testing.assert_equal(found.record.metrics, record.metrics)
    for rows, expected in zip(found.record.steps, record.steps, strict=True):
        assert np.array_equal(rows, expected)
        assert rows.dtype == expected.dtype
    assert np.array_equal(found.record.unfinished, record.unfinished)
    assert (found.record.stopped_at_step, found.seconds, found.first_epoch) == (2, 1.5, 7)
    assert found.sessions == sessions
    assert found.steps == 4


# Being told


def test_signals_become_requests_within_and_are_as_before_after() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_request() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == signal.SIGTERM, "the first counts"
    assert signal.getsignal(signal.SIGTERM) == before
