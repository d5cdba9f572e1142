"""A job that is interrupted anywhere and restarted makes the same files as one that never is."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from perigee.blocks.measures import Checkpoints, Layers, Metrics, Steps
from perigee.errors import StoppedBySignalError
from perigee.interruption import stop_request
from perigee.spec import RunSpec
from perigee.store.runs import unfinished_folder
from perigee.training import saved_state
from perigee.training.recording import Position
from perigee.training.saved_state import GENERATIONS, SavedState, read_states
from support.reference_training import Settings
from support.runs import make_spec, make_trainer
from support.stores import StopsAt, Store, contents, outcome

EPOCHS, STEPS = 2, 2
PLAIN = Settings(width=1, batch_size=40, learning_rate=0.3, weight_decay=0.05)
MOMENTUM = Settings(width=1, batch_size=40, learning_rate=0.05, momentum=0.9)
FULL_BATCH = Settings(width=1, batch_size=40, momentum=0.9, padding=1, full_batch=True)
STANDARD = Settings(width=1, batch_size=40, scale_invariant=False, momentum=0.9)
SETTINGS = {
    "plain": PLAIN,
    "momentum": MOMENTUM,
    "full batch": FULL_BATCH,
    "standard": STANDARD,
    "sphere": Settings(width=1, batch_size=40, norm=3.0, cosine_horizon=5),
    "diverging": Settings(width=1, batch_size=40, scale_invariant=False, learning_rate=1e30),
    "augmented": Settings(
        width=1, batch_size=40, momentum=0.9, padding=2, label_smoothing=0.1, milestones=(1,)
    ),
    "adam": Settings(
        width=1, batch_size=40, scale_invariant=False, learning_rate=0.01, optimiser="adam"
    ),
}
MEASURES = (Metrics(), Steps(), Layers(), Checkpoints(interval=2))

Outcome = tuple[dict[str, bytes], dict[str, Any]]


def spec_of(settings: Settings) -> RunSpec:
    return make_spec(settings, "float32")


@cache
def uninterrupted(settings: Settings, epochs: int = EPOCHS) -> tuple[Outcome, int]:
    """The outcome of a job that is not interrupted, and how often it checks for interruption."""
    stop, folder = StopsAt(), Path(mkdtemp())
    version = Store(folder).train(spec_of(settings), epochs, *MEASURES, stop=stop)
    made = contents(version), outcome(version)
    shutil.rmtree(folder)
    return made, stop.looks


def interrupt(
    store: Store, settings: Settings, look: int, epochs: int = EPOCHS, **options: Any
) -> None:
    with pytest.raises(StoppedBySignalError, match="SIGTERM"):
        store.train(spec_of(settings), epochs, *MEASURES, stop=StopsAt(look), **options)


def assert_finishes(store: Store, settings: Settings, epochs: int = EPOCHS) -> int:
    """Finish the run, compare it with one never interrupted, and return how often it checked."""
    stop = StopsAt()
    version = store.train(spec_of(settings), epochs, *MEASURES, stop=stop)
    (files, course), _ = uninterrupted(settings, epochs)
    found = contents(version)
    assert found.keys() == files.keys()
    for name, content in files.items():
        assert found[name] == content, name
    assert outcome(version) == course
    assert not (store.run_folder(spec_of(settings)) / "unfinished").exists()
    return stop.looks


def unfinished(store: Store, settings: Settings, epochs: int = EPOCHS) -> Path:
    return unfinished_folder(store.run_folder(spec_of(settings)), f"e{epochs}")


@pytest.mark.parametrize("name", SETTINGS)
def test_stopped_at_any_moment_and_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    """Steps, the last of the last epoch too, mini-batches of full batches and of measures, ..."""
    settings = SETTINGS[name]
    _, looks = uninterrupted(settings)
    # Every moment of two of them, others at every fourth.
    moments = range(1, looks + 1)
    if name not in ("momentum", "full batch"):
        moments = moments[len(name) % 4 :: 4]
    for look in moments:
        store = Store(tmp_path / str(look))
        interrupt(store, settings, look)
        again = assert_finishes(store, settings)
        # What was done is not done again: at most one pass of a measure, of three mini-batches,
        # and one step of a full batch, of two.
        assert looks - look <= again <= looks - look + 4


def test_a_job_looks_after_all_that_takes_long() -> None:
    measuring = 2 + 1  # mini-batches of the train set and of the test set
    per_epoch = {"momentum": STEPS, "full batch": STEPS + 1}
    for name, steps in per_epoch.items():
        expected = measuring + 1 + EPOCHS * (steps + measuring + 1)
        assert uninterrupted(SETTINGS[name])[1] == expected


def test_stopped_again_and_again(tmp_path: Path) -> None:
    store, starts = Store(tmp_path), 0
    folder = unfinished(store, MOMENTUM)
    while True:
        starts += 1
        # Four looks, since of a measure's pass with its three none is kept.
        with suppress(StoppedBySignalError):
            store.train(spec_of(MOMENTUM), EPOCHS, *MEASURES, stop=StopsAt(4))
        if not folder.exists():
            break
    assert starts > EPOCHS
    assert_finishes(store, MOMENTUM)


def test_killed_between_saves_goes_on_from_the_last_one(tmp_path: Path) -> None:
    """Rows that were written after it are written again, not twice."""

    class KilledError(Exception):
        pass

    class KilledAt(StopsAt):
        def note(self, number: int, frame: Any = None) -> None:
            raise KilledError

    store = Store(tmp_path)
    saved = uninterrupted(MOMENTUM)[1] - 3
    interrupt(store, MOMENTUM, 6)
    with pytest.raises(KilledError):
        store.train(spec_of(MOMENTUM), EPOCHS, *MEASURES, stop=KilledAt(saved - 6))
    losses = unfinished(store, MOMENTUM) / "losses.npy"
    (state,) = read_states(losses.parent, store.identity(spec_of(MOMENTUM)).digest)
    assert losses.stat().st_size > state.logs["losses"]["rows"] * 8 + 128
    assert_finishes(store, MOMENTUM)


# Jobs of other lengths and measures


def test_a_longer_job_goes_on_from_the_interrupted_shorter_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    interrupt(store, MOMENTUM, 9)
    stop = StopsAt()
    version = store.train(spec_of(MOMENTUM), 4, *MEASURES, stop=stop)
    (files, course), looks = uninterrupted(MOMENTUM, 4)
    assert contents(version) == files
    assert outcome(version) == course
    assert stop.looks < looks
    assert_finishes_beside(store, 2)


def assert_finishes_beside(store: Store, epochs: int) -> None:
    """A shorter version, though a longer one is there: its own state was not touched."""
    digest = store.identity(spec_of(MOMENTUM)).digest
    (state,) = read_states(unfinished(store, MOMENTUM, epochs), digest)
    assert state.position.epoch < epochs


def test_a_shorter_job_leaves_the_state_of_a_longer_one_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    interrupt(store, PLAIN, 15, epochs=4)
    folder = unfinished(store, PLAIN, 4)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    version = store.train(spec_of(PLAIN), 1, *MEASURES)
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept
    assert contents(version) == uninterrupted(PLAIN, 1)[0][0]


def test_a_state_without_a_measure_is_used_and_the_measure_taken_later(tmp_path: Path) -> None:
    """The run is trained on; what was not measured from the start follows by a replay."""
    store, spec = Store(tmp_path), spec_of(MOMENTUM)
    with pytest.raises(StoppedBySignalError):
        store.train(spec, EPOCHS, Metrics(), stop=StopsAt(9))
    version = store.train(spec, EPOCHS, *MEASURES)
    assert contents(version) == uninterrupted(MOMENTUM)[0][0]
    assert store.made_by(spec, version, Metrics()) == "training"
    assert store.made_by(spec, version, Layers()) == "replay"


# Damage


def last_look(settings: Settings) -> int:
    """Late in the last epoch's steps."""
    return uninterrupted(settings)[1] - 4


@pytest.fixture
def saved(tmp_path: Path) -> Store:
    """A store with two generations of a state."""
    store = Store(tmp_path)
    interrupt(store, MOMENTUM, last_look(MOMENTUM), save_interval=0)
    names = {path.name for path in unfinished(store, MOMENTUM).iterdir()}
    assert names >= set(GENERATIONS)
    return store


def states_of(store: Store) -> list[SavedState]:
    digest = store.identity(spec_of(MOMENTUM)).digest
    return list(read_states(unfinished(store, MOMENTUM), digest))


def test_two_generations_are_kept(saved: Store) -> None:
    assert [state.steps for state in states_of(saved)] == [4, 3]


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "header", "description", "foreign"])
def test_an_unusable_state_is_set_aside_and_the_one_before_is_used(
    damage: str, saved: Store, caplog: pytest.LogCaptureFixture
) -> None:
    path = unfinished(saved, MOMENTUM) / GENERATIONS[0]
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
        digest = saved.identity(spec_of(MOMENTUM)).digest
        content = content.replace(digest.encode(), b"f" * 16)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert [state.steps for state in states_of(saved)] == [3]
    (warning,) = [entry.getMessage() for entry in caplog.records]
    assert str(path) in warning
    (aside,) = path.parent.glob(f"{path.name}.unusable-*")
    assert aside.read_bytes() == content
    assert_finishes(saved, MOMENTUM)


def test_a_state_of_another_run_is_not_used(saved: Store, caplog: pytest.LogCaptureFixture) -> None:
    digest = saved.identity(spec_of(MOMENTUM)).digest
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert not list(read_states(unfinished(saved, MOMENTUM), "f" * 16))
    assert caplog.text.count(f"belongs to another run ({digest})") == 2
    assert_finishes(saved, MOMENTUM)


@pytest.mark.parametrize("log", ["losses", "weights", "layers"])
@pytest.mark.parametrize("damage", ["removed", "cut", "changed", "header"])
def test_a_damaged_log_is_refused_with_a_warning(
    log: str, damage: str, saved: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its fingerprint a state is of no use; without a measure's rows it still is."""
    path = unfinished(saved, MOMENTUM) / f"{log}.npy"
    content = bytearray(path.read_bytes())
    if damage == "removed":
        path.unlink()
    else:
        if damage == "changed":
            content[-70 if log == "layers" else -20] ^= 1
        elif damage == "header":
            content[20] ^= 0xFF
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        looks = assert_finishes(saved, MOMENTUM)
    if log == "layers":
        # Trained on to the end, then all of it followed once more for this measure alone.
        replay = EPOCHS * STEPS + EPOCHS + 1
        assert looks == uninterrupted(MOMENTUM)[1] - last_look(MOMENTUM) + replay
    else:
        # Of the state before, the log is damaged in rows that do not matter to it, or is not.
        assert "its logs are damaged" in caplog.text


def test_with_nothing_but_damage_the_run_starts_anew(
    saved: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for name in GENERATIONS:
        (unfinished(saved, MOMENTUM) / name).write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING, logger="perigee"):
        looks = assert_finishes(saved, MOMENTUM)
    assert caplog.text.count("is not used: it is damaged") == 2
    assert looks == uninterrupted(MOMENTUM)[1]


@pytest.mark.parametrize("moment", ["half written", "before the renaming", "between the renamings"])
def test_an_exception_in_the_middle_of_a_save_loses_nothing(
    moment: str,
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
    store = Store(tmp_path)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        interrupt(store, MOMENTUM, last_look(MOMENTUM), save_interval=0)
    assert next(saves) >= 6
    assert "could not be saved" in caplog.text
    monkeypatch.undo()
    assert 1 <= len(states_of(store)) <= 2
    assert not list(unfinished(store, MOMENTUM).glob(".latest*"))
    assert_finishes(store, MOMENTUM)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 384 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=384k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("a tmpfs cannot be mounted; run as root")
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_while_saving_loses_nothing(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(small_disk)
    interrupt(store, MOMENTUM, 6, save_interval=0)
    before = [state.steps for state in states_of(store)]
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(b"0" * free)
    with (
        caplog.at_level(logging.WARNING, logger="perigee"),
        pytest.raises(StoppedBySignalError, match="could not be saved"),
    ):
        store.train(spec_of(MOMENTUM), EPOCHS, *MEASURES, stop=StopsAt(4), save_interval=0)
    assert "No space left" in caplog.text
    assert [state.steps for state in states_of(store)] == before
    filler.unlink()
    assert_finishes(store, MOMENTUM)


def test_a_saved_state_survives_the_way_to_the_disk_and_back(tmp_path: Path) -> None:
    trainer = make_trainer(STANDARD, "float32")
    tensors = {**trainer.state(), "losses": torch.tensor([0.1, float("nan")]).double()}
    state = SavedState(
        digest="0123456789abcdef",
        tensors=tensors,
        position=Position(epoch=3, measured=True, taken=2, steps=12, stopped_at_step=7),
        logs={"losses": {"rows": 14, "checksum": 5}},
        seconds=1.5,
        sessions=({"started": "now"},),
        first_epoch=1,
    )
    state.save(tmp_path)
    (found,) = read_states(tmp_path, state.digest)
    assert found.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert np.array_equal(found.tensors[name], value, equal_nan=True), name
    for name in ("digest", "position", "logs", "seconds", "sessions", "first_epoch"):
        assert getattr(found, name) == getattr(state, name)
    assert found.steps == 14


# Being told


def test_signals_become_requests_within_and_are_as_before_after() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_request() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == signal.SIGTERM, "the first counts"
    assert signal.getsignal(signal.SIGTERM) == before
