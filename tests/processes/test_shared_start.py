"""perigee.jobs.shared: what the processes of a run are given, and how their ends are one status."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from perigee.errors import PerigeeError
from perigee.interruption import StopRequest
from perigee.jobs import nodes, shared

BEGIN = "import os, signal, sys, time; rank = int(os.environ['RANK']); "
WAITING = BEGIN + (
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); "
    "open(f'{sys.argv[1]}/{rank}', 'w').close(); time.sleep(600)"
)
"""A program that notes that it has started, and waits to be told to stop."""


@pytest.fixture
def stop() -> StopRequest:
    return StopRequest()


def program(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have processes run a line of Python."""
    monkeypatch.setattr(shared, "PROGRAM", (sys.executable, "-c", code))


def note(stop: StopRequest, number: int, folder: Path, ranks: int) -> None:
    """Note a signal, as often as somebody presses Ctrl-C, once all processes have started."""
    while not all((folder / str(rank)).exists() for rank in range(ranks)):
        time.sleep(0.01)
    for _ in range(3):
        stop.note(number)


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
    if moment == "before":
        stop.note(signal.SIGINT)
    telling = threading.Thread(target=note, args=(stop, signal.SIGINT, tmp_path, 2))
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


SRUN = """#!{python}
import os, subprocess, sys
tasks = next(int(word[9:]) for word in sys.argv if word.startswith("--ntasks="))
given = sys.argv[1:]
while given[0].startswith("--"):
    given.pop(0)
parts = [
    subprocess.Popen(given, env=os.environ | {{"SLURM_PROCID": str(part)}}) for part in range(tasks)
]
sys.exit(max(part.wait() for part in parts))
"""
"""A program that starts tasks as SLURM's does, on this machine."""

AS_PART = """
import os, sys
from perigee.interruption import stop_request
from perigee.jobs import nodes, shared
if shared.is_child():
    exec(sys.argv[2])
else:
    assert nodes.is_part()
    shared.PROGRAM = {program!r}
    with stop_request() as stop, nodes.joined(4, 2, stop) as part:
        part.meet(lambda: None)
        status = part.run(sys.argv[1:])
    sys.exit(status)
"""
"""A part that starts its processes, or one of these, which runs the line that it is given."""


@pytest.fixture
def as_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SLURM job whose nodes are this machine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("squeue", "#!/bin/sh\necho 2\n")):
        (programs / name).write_text(text.format(python=sys.executable))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    part = tmp_path / "part.py"
    program = (sys.executable, str(part))
    part.write_text(AS_PART.format(program=program))
    monkeypatch.setattr(shared, "PROGRAM", program)


def test_on_nodes_every_process_knows_its_place(
    as_nodes: None, stop: StopRequest, tmp_path: Path
) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    line = f"told = [os.environ[name] for name in {names}]; "
    line += "open(f'{sys.argv[1]}/{told[0]}', 'w').write(' '.join(told))"
    assert nodes.run_on_nodes([str(tmp_path), line], 4, 2, stop) == 0
    found = [(tmp_path / str(rank)).read_text() for rank in range(4)]
    assert found == ["0 0 4 2", "1 1 4 2", "2 0 4 2", "3 1 4 2"]


def test_on_nodes_one_that_fails_ends_all(
    as_nodes: None, stop: StopRequest, tmp_path: Path
) -> None:
    line = f"{BEGIN}sys.exit(3) if rank == 3 else exec({WAITING.removeprefix(BEGIN)!r})"
    begun = time.monotonic()
    assert nodes.run_on_nodes([str(tmp_path), line], 4, 2, stop) in (3, 143)
    assert time.monotonic() - begun < shared.GRACE


def test_on_nodes_told_to_stop_all_are_told(
    as_nodes: None, stop: StopRequest, tmp_path: Path
) -> None:
    threading.Thread(target=note, args=(stop, signal.SIGTERM, tmp_path, 4)).start()
    begun = time.monotonic()
    assert nodes.run_on_nodes([str(tmp_path), WAITING], 4, 2, stop) == 128 + signal.SIGTERM
    assert time.monotonic() - begun < shared.GRACE


def test_on_nodes_one_that_fails_before_they_meet_ends_all(
    as_nodes: None, stop: StopRequest, tmp_path: Path
) -> None:
    part = Path(shared.PROGRAM[-1])
    fails = "raise SystemExit(4) if part.number else part.meet(lambda: None)"
    code = part.read_text().replace("part.meet(lambda: None)", fails)
    part.write_text(code)
    begun = time.monotonic()
    assert nodes.run_on_nodes([str(tmp_path), "pass"], 4, 2, stop) in (4, 143)
    assert time.monotonic() - begun < shared.GRACE


def test_a_detached_program_hears_no_signal_of_this_one_and_its_status_is_known(
    tmp_path: Path,
) -> None:
    line = f"import os, sys, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
    program = nodes.DetachedProgram(
        [sys.executable, "-c", line + "time.sleep(1); sys.exit(7)"], dict(os.environ)
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    number = int((tmp_path / "pid").read_text())
    below = psutil.Process().children(recursive=True)
    assert number not in {process.pid for process in below}
    assert os.getsid(number) != os.getsid(0)
    assert program.poll() is None
    while program.poll() is None:
        time.sleep(0.01)
    assert program.returncode == 7


def test_a_detached_program_can_be_ended(tmp_path: Path) -> None:
    program = nodes.DetachedProgram(
        [sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ)
    )
    begun = time.monotonic()
    while program.poll() is None:
        program.kill()
        time.sleep(0.05)
    assert program.returncode == -signal.SIGTERM
    assert time.monotonic() - begun < shared.GRACE


@pytest.mark.parametrize(
    ("processes", "job", "told"),
    [
        (3, "1", "'processes_per_run' is 3, which 2 nodes .* cannot share out evenly; set it to"),
        (4, "", "'nodes_per_run' is 2, but this is not a SLURM job; set it to 1, or run with"),
    ],
)
def test_what_nodes_cannot_do_is_refused(
    processes: int, job: str, told: str, stop: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    with pytest.raises(PerigeeError, match=told):
        nodes.run_on_nodes([], processes, 2, stop)
