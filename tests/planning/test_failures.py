"""A failed program and a failed workflow name the failure in their last lines."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from perigee.cli import LogFile, program
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.failures import failed_jobs, note_failure, noted_failure, reason
from perigee.paths import PACKAGE

FULL = Path("/dev/full")


def raised(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    pytest.fail("nothing was raised")


def write_table() -> None:
    # Through an open file: libraries remove or replace a path that they fail to write, and a
    # test that root runs must leave the device alone.
    with FULL.open("wb") as stream:
        pd.DataFrame({"x": np.arange(100_000.0)}).to_parquet(stream)


def write_text() -> None:
    with FULL.open("w") as stream:
        stream.write("x")


@pytest.mark.skipif(not FULL.is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("write", [write_table, write_text])
def test_a_full_disk_is_told_with_folder_room_and_remedy(
    write: Callable[[], None], tmp_path: Path
) -> None:
    told = reason(raised(write), tmp_path / "store/run/r-0123/e4")
    assert f"no room left on the disk of {tmp_path} (" in told
    assert "MB free now" in told
    assert "perigee store clean" in told


def test_a_full_disk_that_a_library_tells_in_words_only(tmp_path: Path) -> None:
    # As safetensors does.
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert "no room left" in reason(RuntimeError(words), tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 4 TB"),
        type("OutOfMemoryError", (RuntimeError,), {})(
            "CUDA out of memory. Tried to allocate 2 GiB"
        ),
    ],
)
def test_want_of_memory_is_told_with_a_remedy(error: Exception) -> None:
    told = reason(error, None)
    assert told.startswith("not enough memory (")
    assert "mem_mb" in told
    assert str(error) in told


def test_torchs_own_words_for_want_of_memory_are_known() -> None:
    torch = pytest.importorskip("torch")
    error = raised(lambda: torch.empty(2**60))
    assert reason(error, None).startswith("not enough memory (")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PerigeeError("Key 'x' is wrong; mend it."), "Key 'x' is wrong; mend it."),
        (ValueError("odd\n  value"), "ValueError: odd value"),
        (FileNotFoundError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
    ],
)
def test_other_reasons_are_one_line(error: Exception, told: str) -> None:
    assert reason(error, None) == told


@pytest.mark.parametrize("error", [PerigeeError("Mend it."), ValueError("odd\nvalue")])
def test_the_last_line_names_program_product_reason_and_log(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log, out = tmp_path / "logs/e4.log", tmp_path / "run/r-0123/e4"

    def main(out: Path, log: LogFile = None) -> None:
        raise error

    monkeypatch.setattr(logging.getLogger("perigee"), "handlers", [])
    with pytest.raises(typer.Exit) as ended:
        program(main, "perigee train")(out=out, log=log)
    assert ended.value.exit_code == 1
    last = f"perigee train: {out}: {reason(error, out)} (log: {log})"
    terminal = capfd.readouterr().err.splitlines()
    assert terminal == [last]
    logged = log.read_text()
    assert logged.splitlines()[-1].endswith(last)
    assert ("Traceback" in logged) == isinstance(error, ValueError)
    # And Snakemake's run ends with it, however often it names the log.
    block = f"Error in rule train_run:\n    log: {log} (check log file(s) for error details)\n"
    assert failed_jobs(block + block) == [f"failed: {last}"]


PROGRESS = "2026-11-20 13:00:00 r: epoch 3/4, train loss 0.1\n"


def told_of(log: Path, ended: str) -> str:
    """The workflow's words about a job whose shell command ended so."""
    command = f"Command 'set -euo pipefail; python -m perigee train --out x --log {log}' {ended}."
    block = f"Error in rule train_run:\n    log: {log} (check log file(s) for error details)\n"
    (told,) = failed_jobs(f"{command}\n{block}")
    assert told.startswith(f"failed: {log}: ")
    return told


@pytest.mark.parametrize("text", [None, "", PROGRESS])
@pytest.mark.parametrize(
    "ended", ["returned non-zero exit status 137", "died with <Signals.SIGKILL: 9>"]
)
def test_only_what_was_killed_is_told_to_have_lacked_memory(
    ended: str, text: str | None, tmp_path: Path
) -> None:
    log = tmp_path / "logs/train_run/e4.log"
    log.parent.mkdir(parents=True)
    if text is not None:
        log.write_text(text)
    told = told_of(log, ended)
    assert "killed (exit status 137), most likely for want of memory" in told
    assert "'mem_mb' of train_run in line" in told


@pytest.mark.parametrize("status", [1, 2, 139])
@pytest.mark.parametrize("text", [None, PROGRESS])
def test_another_end_without_a_word_is_not_told_as_want_of_memory(
    text: str | None, status: int, tmp_path: Path
) -> None:
    log = tmp_path / "a folder" / "e4.log"
    log.parent.mkdir()
    if text is not None:
        log.write_text(text)
    told = told_of(log, f"returned non-zero exit status {status}")
    assert f"(exit status {status})" in told
    assert "want of memory" not in told
    assert ("did not start" in told) == (text is None)


def test_slurms_word_on_memory_is_told(tmp_path: Path) -> None:
    log = tmp_path / "logs/make_table/t.log"
    log.parent.mkdir(parents=True)
    note_failure(log, "SLURM-job '7' failed, SLURM status is: 'OUT_OF_MEMORY'.", 1)
    told = told_of(log, "returned non-zero exit status 1")
    assert "OUT_OF_MEMORY" in told
    assert "'mem_mb' of make_table in line" in told
    note_failure(log, "SLURM-job '7' failed, SLURM status is: 'NODE_FAIL'.", 1)
    told = told_of(log, "returned non-zero exit status 1")
    assert told.endswith("SLURM status is: 'NODE_FAIL'.")


@pytest.mark.parametrize("option", [["--log", "{}"], ["--log={}"]])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ImportError('libcuda.so: no such file')", "ImportError: libcuda.so: no such file"),
        ("OSError(12, 'Cannot allocate memory')", "not enough memory"),
    ],
)
def test_a_program_that_cannot_be_imported_did_not_start(
    error: str, said: str, option: list[str], tmp_path: Path
) -> None:
    """Whatever its imports raise is told as its last word, and noted for whoever looks later."""
    log = tmp_path / "logs/train_run/e4.log"
    (tmp_path / "torch.py").write_text(f"raise {error}\n")
    command = [sys.executable, "-m", "perigee", "train", *(part.format(log) for part in option)]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGE.parent}"}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("perigee train: did not start: ")
    assert said in last
    assert failed_jobs(f"    log: {log} (check log file(s) for error details)") == [
        f"failed: {last}"
    ]
    noted = noted_failure(log)
    assert noted is not None
    assert said in noted.reason
    assert "Traceback" in log.read_text()


def test_nothing_failed() -> None:
    assert failed_jobs("4 of 4 steps (100%) done\n    log: x\n") == []


@pytest.fixture(autouse=True)
def _level_as_it_was() -> Iterator[None]:
    """Programs set the level of the logger, which other tests share."""
    logger = logging.getLogger("perigee")
    level = logger.level
    yield
    logger.setLevel(level)


def ends_with(
    error: Exception | None, log: Path, monkeypatch: pytest.MonkeyPatch
) -> int | str | None:
    """The exit status of a program that ends in this way."""

    def end() -> None:
        if error is not None:
            raise error

    return exit_status_of(end, log, monkeypatch)


def exit_status_of(
    action: Callable[[], None], log: Path, monkeypatch: pytest.MonkeyPatch
) -> int | str | None:
    """The exit status of a program that performs an action."""

    def main(log: LogFile = None) -> None:
        action()

    monkeypatch.setattr(logging.getLogger("perigee"), "handlers", [])
    try:
        program(main, "perigee train")(log=log)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def test_how_a_program_failed_is_noted_until_it_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "train_run/lr0.1/e4.log"
    assert noted_failure(log) is None
    assert ends_with(ValueError("no\nsuch loss"), log, monkeypatch) == 1
    noted = noted_failure(log)
    assert noted is not None
    assert (noted.reason, noted.exit_status) == ("ValueError: no such loss", 1)
    assert not noted.was_stopped
    assert noted_failure(log.with_name("e40.log")) is None
    assert ends_with(None, log, monkeypatch) == 0
    assert noted_failure(log) is None


def test_a_log_that_is_removed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake removes the log of a job that it starts, even while an earlier job still runs."""
    log = tmp_path / "logs/e4.log"

    def work() -> None:
        logging.getLogger("perigee").warning("one")
        log.unlink()
        logging.getLogger("perigee").warning("two")
        assert log.read_text().endswith(" two\n")
        shutil.rmtree(log.parent)  # no reason to stop
        logging.getLogger("perigee").warning("three")

    assert exit_status_of(work, log, monkeypatch) == 0


@pytest.mark.parametrize("received", [signal.SIGTERM, signal.SIGINT])
def test_one_told_to_stop_has_not_failed(
    received: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "e4.log"
    status = ends_with(StoppedBySignalError("stopped", received), log, monkeypatch)
    noted = noted_failure(log)
    assert noted is not None
    assert noted.was_stopped
    assert noted.exit_status == status == 128 + received


@pytest.mark.parametrize("kept", [0, 1, 10])
def test_a_note_cut_off_still_tells_of_a_failure(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "e4.log"
    ends_with(PerigeeError("wrong"), log, monkeypatch)
    (note,) = (path for path in tmp_path.iterdir() if path != log)
    note.write_bytes(note.read_bytes()[:kept])
    noted = noted_failure(log)
    assert noted is not None
    assert noted.reason == ""
