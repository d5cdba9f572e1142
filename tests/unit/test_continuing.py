"""perigee.training.resuming: more epochs go on from the end of a shorter version."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from perigee.training.record import RunRecord
from perigee.training.resuming import resume, save_final_state
from reference_training import Settings

from perigee.identity.products import Identity
from perigee.store.runs import STATE, STEPS, run_details, write_tables
from perigee.store.writing import product_writer
from perigee.training.trainer import Trainer, train

RUN = Identity("run", "few-digits", {"seed": 0}, "code", {"dataset": "digits"})

PLAIN = Settings(learning_rate=0.3, weight_decay=0.05)
MOMENTUM = Settings(learning_rate=0.05, momentum=0.9)
SPHERE = Settings(norm=3.0, cosine_horizon=5)
STANDARD = Settings(scale_invariant=False, momentum=0.9)
DIVERGING = Settings(scale_invariant=False, learning_rate=1e30)


@pytest.fixture
def make(make_trainer: Callable[..., Trainer]) -> Callable[[Settings], Trainer]:
    return lambda settings: make_trainer(settings, precision="float32")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / RUN.folder


def continue_longest(trainer: Trainer, run_folder: Path, epochs: int, digest: str) -> RunRecord:
    return resume(trainer, run_folder, epochs, digest).record


def write(run_folder: Path, trainer: Trainer, record: RunRecord, epochs: int) -> None:
    """As train.py does."""
    with product_writer(run_folder / f"e{epochs}", RUN) as product:
        write_tables(product.aside, record.metrics_table(), record.steps_table())
        save_final_state(product.aside, trainer)
        product.details |= run_details(epochs, 0, record.stopped_at_step, record.epochs)


def keep(run_folder: Path, trainer: Trainer, *versions: int) -> RunRecord:
    """Train on to each number of epochs and put every one into the store."""
    record = RunRecord()
    for epochs in versions:
        train(trainer, epochs, record)
        write(run_folder, trainer, record, epochs)
    return record


def assert_same_state(one: Trainer, other: Trainer) -> None:
    states = one.state(), other.state()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("settings", [PLAIN, MOMENTUM, SPHERE, STANDARD])
def test_a_continued_run_equals_one_in_one_go_bit_for_bit(
    settings: Settings, make: Callable[[Settings], Trainer], run_folder: Path
) -> None:
    in_one_go, whole = make(settings), RunRecord()
    train(in_one_go, 4, whole)

    keep(run_folder, make(settings), 2)
    continued = make(settings)
    record = continue_longest(continued, run_folder, 4, RUN.digest)
    assert record.epochs == 2
    train(continued, 4, record)
    assert_same_state(continued, in_one_go)
    pd.testing.assert_frame_equal(record.metrics_table(), whole.metrics_table(), check_exact=True)
    pd.testing.assert_frame_equal(record.steps_table(), whole.steps_table(), check_exact=True)


def test_the_longest_shorter_version_is_continued(
    make: Callable[[Settings], Trainer], run_folder: Path
) -> None:
    keep(run_folder, make(PLAIN), 1, 2, 3, 4)
    for epochs, expected in ((5, 4), (4, 3), (3, 2), (2, 1), (1, 0)):
        assert continue_longest(make(PLAIN), run_folder, epochs, RUN.digest).epochs == expected


def test_without_a_store_the_run_starts_anew(
    make: Callable[[Settings], Trainer], run_folder: Path
) -> None:
    trainer = make(MOMENTUM)
    assert continue_longest(trainer, run_folder, 4, RUN.digest) == RunRecord()
    assert_same_state(trainer, make(MOMENTUM))


@pytest.mark.parametrize(
    ("damaged_file", "damage"),
    [
        *((name, damage) for name in (STATE, STEPS) for damage in ("changed", "cut", "removed")),
        ("provenance.json", "cut"),
        ("provenance.json", "removed"),
    ],
)
def test_a_damaged_version_is_passed_over_with_a_warning(
    damaged_file: str,
    damage: str,
    make: Callable[[Settings], Trainer],
    run_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep(run_folder, make(PLAIN), 1, 2)
    path = run_folder / "e2" / damaged_file
    content = bytearray(path.read_bytes())
    if damage == "removed":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    trainer = make(PLAIN)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        record = continue_longest(trainer, run_folder, 3, RUN.digest)
    assert record.epochs == 1
    warnings = [entry.getMessage() for entry in caplog.records]
    if damage == "removed" and damaged_file != STATE:
        assert not warnings  # a folder without provenance and tables is no version at all
    else:
        (warning,) = warnings
        assert f"not continued from {run_folder / 'e2'}" in warning

    # And what it goes on from is right.
    expected = make(PLAIN)
    train(expected, 1, RunRecord())
    assert_same_state(trainer, expected)


def test_with_nothing_but_damage_the_run_starts_anew(
    make: Callable[[Settings], Trainer], run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(run_folder, make(PLAIN), 1, 2)
    for version in ("e1", "e2"):
        (run_folder / version / STATE).write_bytes(b"nothing")
    trainer = make(PLAIN)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert continue_longest(trainer, run_folder, 3, RUN.digest) == RunRecord()
    assert len(caplog.records) == 2
    assert_same_state(trainer, make(PLAIN))


def test_a_version_of_another_run_is_passed_over(
    make: Callable[[Settings], Trainer], run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(run_folder, make(PLAIN), 1)
    foreign = run_folder.with_name("few-digits-0123456789abcdef")
    run_folder.rename(foreign)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert continue_longest(make(PLAIN), foreign, 3, RUN.digest) == RunRecord()
    assert "belongs to another product" in caplog.text


def test_a_version_of_another_run_in_a_folder_of_ones_own_is_passed_over(
    make: Callable[[Settings], Trainer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a program was run by hand, the folder's name tells no digest."""
    folder = tmp_path / "by-hand"
    keep(folder, make(PLAIN), 1)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert continue_longest(make(PLAIN), folder, 3, "0" * 16) == RunRecord()
    assert "belongs to another run" in caplog.text
    assert continue_longest(make(PLAIN), folder, 3, RUN.digest).epochs == 1


def test_a_version_without_state_is_passed_over_in_silence(
    make: Callable[[Settings], Trainer], run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A version read off a longer one has tables only.
    record = keep(run_folder, make(PLAIN), 1, 2)
    with product_writer(run_folder / "e3", RUN) as product:
        write_tables(product.aside, record.metrics_table(), record.steps_table())
        product.details |= run_details(3, 0, None, 0)
    with caplog.at_level(logging.WARNING, logger="perigee"):
        assert continue_longest(make(PLAIN), run_folder, 4, RUN.digest).epochs == 2
    assert not caplog.records


def test_a_stopped_run_stays_stopped(make: Callable[[Settings], Trainer], run_folder: Path) -> None:
    kept = keep(run_folder, make(DIVERGING), 6)
    assert kept.stopped_at_step is not None
    trainer = make(DIVERGING)
    record = continue_longest(trainer, run_folder, 9, RUN.digest)
    train(trainer, 9, record)
    assert record.stopped_at_step == kept.stopped_at_step
    assert record.epochs == kept.epochs
    pd.testing.assert_frame_equal(record.steps_table(), kept.steps_table(), check_exact=True)
    pd.testing.assert_frame_equal(record.metrics_table(), kept.metrics_table(), check_exact=True)


def test_what_is_continued_is_said(
    make: Callable[[Settings], Trainer], run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(run_folder, make(PLAIN), 2)
    with caplog.at_level(logging.INFO, logger="perigee"):
        record = continue_longest(make(PLAIN), run_folder, 3, RUN.digest)
    assert "continuing after epoch 2" in caplog.text
    assert [len(steps) for steps in record.steps] == [4, 4]
    assert np.concatenate(record.steps).dtype == np.float32
