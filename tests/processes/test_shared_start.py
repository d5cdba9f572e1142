"""perigee.jobs.shared: what the processes of a run are given, and how their ends are one status."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from perigee.interruption import StopRequest
from perigee.jobs import shared

BEGIN = "import os, signal, sys, time; rank = int(os.environ['RANK']); "
WAITING = BEGIN + (
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); "
    "open(f'{sys.argv[1]}/{rank}', 'w').close(); time.sleep(60)"
)
"""A program that notes that it has started, and waits to be told to stop."""


@pytest.fixture
def stop() -> StopRequest:
    return StopRequest()


def program(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have processes run a line of Python."""
    monkeypatch.setattr(shared, "PROGRAM", (sys.executable, "-c", code))


@pytest.mark.parametrize(
    ("before", "gpus", "seen"),
    [
        ("", [0, 2], "0,2"),
        ("3,5,7", [0, 2], "3,7"),
        ("GPU-a,GPU-b", [1], "GPU-b"),
        ("1,2", [], "1,2"),
    ],
)
def test_they_see_the_gpus_that_are_held_and_their_place(
    before: str,
    gpus: list[int],
    seen: str,
    stop: StopRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    names = ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", shared.STARTED)
    code = f"told = [os.environ[name] for name in {names}]; "
    code += "open(f'{sys.argv[1]}/{rank}', 'w').write(' '.join(told))"
    program(monkeypatch, BEGIN + code)
    assert shared.run_as_processes([str(tmp_path)], 2, stop, gpus) == 0
    found = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert found == [f"{seen} {rank} 2 localhost 1" for rank in range(2)]


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", 137)]
)
def test_the_status_is_that_of_the_first_that_fails_and_the_others_are_told(
    end: str, status: int, stop: StopRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = WAITING.removeprefix(BEGIN)
    program(monkeypatch, f"{BEGIN}{end} if rank else exec({others!r})")
    begun = time.monotonic()
    assert shared.run_as_processes([str(tmp_path)], 2, stop) == status
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("moment", ["before", "while they work"])
def test_told_to_stop_they_are_told_whenever_it_was(
    moment: str, stop: StopRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, WAITING)

    def tell() -> None:
        while not all((tmp_path / str(rank)).exists() for rank in range(2)):
            time.sleep(0.01)
        for _ in range(3):  # as often as somebody presses Ctrl-C
            stop.note(signal.SIGINT)

    if moment == "before":
        stop.note(signal.SIGINT)
    telling = threading.Thread(target=tell)
    telling.start()
    status = shared.run_as_processes([str(tmp_path)], 2, stop)
    if moment == "before":
        for rank in range(2):
            (tmp_path / str(rank)).touch()
    telling.join()
    assert status == 128 + signal.SIGINT


def test_who_does_not_end_is_killed(
    stop: StopRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, BEGIN + "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    monkeypatch.setattr(shared, "GRACE", 1.0)
    stop.note(signal.SIGTERM)
    assert shared.run_as_processes([str(tmp_path)], 2, stop) == 128 + signal.SIGTERM
    assert "RANK" not in os.environ
