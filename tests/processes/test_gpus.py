"""perigee.gpus: each job a GPU of its own, tried with pretend GPUs.

A pretend GPU is a UUID that PyTorch is made to report. The holds on it are real.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from uuid import uuid4

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee import gpus
from perigee.errors import PerigeeError
from perigee.gpus import own_gpu, own_gpus

SECONDS = 30
"""The seconds after which a test stops waiting for a process."""

Pretend = Callable[..., None]
Job = tuple[BaseProcess, Connection]
Processes = Callable[..., list[Job]]


class NoneFreeError(Exception):
    """The error that ends the waiting in these tests."""


def give_up() -> None:
    raise NoneFreeError


def some_gpus(number: int) -> list[str]:
    """Make UUIDs that no other test, in this process or another, has."""
    return [f"GPU-{uuid4()}" for _ in range(number)]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Make PyTorch report GPUs with these UUIDs, as cuda:0, cuda:1, ...

    Selecting one does nothing, since there is none.
    """
    monkeypatch.setattr(gpus, "PATIENCE", 0.01)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)

    def report(*uuids: str) -> None:
        found = [SimpleNamespace(uuid=uuid) for uuid in uuids]
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(found))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
        monkeypatch.setattr(torch.cuda, "get_device_properties", found.__getitem__)

    return report


@pytest.fixture
def jobs() -> Iterator[ExitStack]:
    """A stack that holds what is entered into it until the end of the test."""
    with ExitStack() as stack:
        yield stack


# Which GPU


def test_each_job_gets_a_gpu_of_its_own_and_one_more_waits(
    pretend: Pretend, jobs: ExitStack
) -> None:
    pretend(*some_gpus(3))
    got = {jobs.enter_context(own_gpu("auto", 1)) for _ in range(3)}
    assert got == {"cuda:0", "cuda:1", "cuda:2"}
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("auto", 1, give_up))


def test_a_gpu_is_free_again_when_its_job_is_done_or_fails(pretend: Pretend) -> None:
    pretend(*some_gpus(1))
    with own_gpu("cuda", 1):
        pass
    with pytest.raises(ZeroDivisionError), own_gpu("cuda", 1):
        raise ZeroDivisionError
    with own_gpu("cuda", 1, give_up) as got:
        assert got == "cuda:0"


def test_several_runs_share_a_gpu_and_spread(pretend: Pretend, jobs: ExitStack) -> None:
    pretend(*some_gpus(2))
    got = [jobs.enter_context(own_gpu("auto", 2)) for _ in range(4)]
    assert Counter(got[:2]) == Counter(got[2:]) == {"cuda:0": 1, "cuda:1": 1}
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("auto", 2, give_up))


@settings(max_examples=50)
@given(
    number=st.integers(1, 4),
    runs_per_gpu=st.integers(1, 3),
    ends=st.lists(st.none() | st.integers(0, 11), max_size=30),
)
def test_a_job_never_gets_a_gpu_with_more_jobs_than_another(
    number: int, runs_per_gpu: int, ends: list[int | None]
) -> None:
    """A plain count of holds agrees, for any order of beginnings and ends."""
    running: list[tuple[str, AbstractContextManager[str]]] = []
    with pytest.MonkeyPatch.context() as patch:
        uuids = some_gpus(number)
        patch.setattr(gpus, "visible_gpus", lambda: uuids)
        patch.setattr(torch.cuda, "set_device", lambda device: None)
        for end in ends:
            if end is not None:
                if running:
                    running.pop(end % len(running))[1].__exit__(None, None, None)
                continue
            before = Counter({f"cuda:{n}": 0 for n in range(number)})
            before.update(name for name, _ in running)
            job = own_gpu("auto", runs_per_gpu, give_up)
            if min(before.values()) == runs_per_gpu:
                with pytest.raises(NoneFreeError):
                    job.__enter__()
            else:
                name = job.__enter__()
                assert before[name] == min(before.values())
                running.append((name, job))
        for _, job in running:
            job.__exit__(None, None, None)


def test_who_wants_a_gpu_alone_does_not_join_others(pretend: Pretend, jobs: ExitStack) -> None:
    pretend(*some_gpus(1))
    first = own_gpu("auto", 2)
    first.__enter__()
    jobs.enter_context(own_gpu("auto", 2))
    first.__exit__(None, None, None)
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("auto", 1, give_up))
    assert jobs.enter_context(own_gpu("auto", 2, give_up)) == "cuda:0"


def test_a_gpu_is_the_same_under_another_number(pretend: Pretend, jobs: ExitStack) -> None:
    """CUDA_VISIBLE_DEVICES may be 0,1 for one process and 1 for the other."""
    first, second = some_gpus(2)
    pretend(second)
    assert jobs.enter_context(own_gpu("auto", 1)) == "cuda:0"
    pretend(second, first)
    assert jobs.enter_context(own_gpu("auto", 1)) == "cuda:1"
    pretend(first, second)
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("auto", 1, give_up))


def test_the_gpu_that_is_named_is_waited_for(pretend: Pretend, jobs: ExitStack) -> None:
    pretend(*some_gpus(3))
    assert jobs.enter_context(own_gpu("cuda:1", 1)) == "cuda:1"
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("cuda:1", 1, give_up))
    assert [jobs.enter_context(own_gpu("cuda", 1)) for _ in range(2)] == ["cuda:0", "cuda:2"]


def test_the_gpu_becomes_the_current_one(
    pretend: Pretend, jobs: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that names no device, such as that for the GPU's name in provenance, uses this one."""
    current: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    pretend(*some_gpus(2))
    jobs.enter_context(own_gpu("auto", 1))
    second = jobs.enter_context(own_gpu("auto", 1))
    assert current[1:] == [second]


@pytest.mark.parametrize("device", ["cuda:2", "cuda:", "cuda:one", "cuda:-1"])
def test_a_gpu_that_is_not_there_is_refused(device: str, pretend: Pretend) -> None:
    pretend(*some_gpus(2))
    told = rf"'device' is '{device}' but the GPUs of this machine are cuda:0, cuda:1; set"
    with pytest.raises(PerigeeError, match=told), own_gpu(device, 1):
        pass


# Several GPUs for one job


def test_a_job_holds_several_gpus_that_nobody_joins(pretend: Pretend, jobs: ExitStack) -> None:
    pretend(*some_gpus(4))
    assert jobs.enter_context(own_gpu("cuda:1", 2)) == "cuda:1"
    assert jobs.enter_context(own_gpus("auto", 2)) == [0, 2]
    assert jobs.enter_context(own_gpu("auto", 1)) == "cuda:3"
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("auto", 1, give_up))


def test_nobody_joins_whatever_may_share_a_gpu(pretend: Pretend, jobs: ExitStack) -> None:
    pretend(*some_gpus(2))
    jobs.enter_context(own_gpus("auto", 1))
    assert [jobs.enter_context(own_gpu("auto", 3, give_up)) for _ in range(3)] == ["cuda:1"] * 3
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("auto", 3, give_up))


def test_it_holds_all_of_them_or_none(pretend: Pretend, jobs: ExitStack) -> None:
    pretend(*some_gpus(3))
    first = own_gpus("cuda", 2)
    assert first.__enter__() == [0, 1]
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpus("cuda", 2, give_up))
    assert jobs.enter_context(own_gpu("auto", 1, give_up)) == "cuda:2"  # it was let go
    first.__exit__(None, None, None)
    assert jobs.enter_context(own_gpus("cuda", 2, give_up)) == [0, 1]


def test_more_processes_than_gpus_are_refused(pretend: Pretend) -> None:
    pretend(*some_gpus(2))
    told = "'processes_per_run' is 3, but this machine has 2 GPUs; set it to 2 at most"
    with pytest.raises(PerigeeError, match=told), own_gpus("auto", 3):
        pass


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_on_the_cpu_processes_hold_none(device: str, pretend: Pretend) -> None:
    pretend(*([] if device == "auto" else some_gpus(1)))
    with own_gpus(device, 2, give_up) as got:
        assert got == []


# No GPU


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1", "cpu"])
def test_without_gpus_the_device_stays_as_it_was_asked_for(device: str, pretend: Pretend) -> None:
    pretend()
    with own_gpu(device, 1, give_up) as one, own_gpu(device, 1, give_up) as another:
        assert one == another == device


def test_gpus_that_cannot_be_used_are_none(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a driver that is too old, GPUs are counted but cannot be used."""
    pretend(*some_gpus(2))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with own_gpu("auto", 1) as got:
        assert got == "auto"


@pytest.mark.parametrize("device", ["cpu", "mps", "nonsense"])
def test_what_is_no_gpu_is_left_alone_and_cuda_asleep(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("CUDA was asked"))
    with own_gpu(device, 1) as got:
        assert got == device


# Several processes


def hold(uuids: list[str], runs_per_gpu: int, start: tuple[int, int], told: Connection) -> None:
    """A job in a process of its own: says which GPU it has, and keeps it."""
    gpus.visible_gpus = lambda: tuple(uuids)
    torch.cuda.set_device = lambda device: None
    waiting, go = start
    os.close(go)
    os.read(waiting, 1)  # until the last process that could write has closed its end
    with own_gpu("auto", runs_per_gpu) as got:
        told.send(got)
        signal.pause()


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Start jobs that look for a GPU all at once, and end them with the test."""
    context = multiprocessing.get_context("fork")
    started: list[Job] = []

    def start(number: int, uuids: list[str], runs_per_gpu: int = 1) -> list[Job]:
        waiting, go = os.pipe()
        found = []
        for _ in range(number):
            told, tell = context.Pipe(duplex=False)
            process = context.Process(target=hold, args=(uuids, runs_per_gpu, (waiting, go), tell))
            process.start()
            found.append((process, told))
        started.extend(found)
        os.close(go)
        os.close(waiting)
        return found

    yield start
    for process, _ in started:
        process.kill()
        process.join()


def answer(job: Job) -> str:
    assert job[1].poll(SECONDS), "no GPU was got"
    return str(job[1].recv())


@pytest.mark.parametrize("runs_per_gpu", [1, 2])
def test_of_processes_that_start_at_once_each_gets_a_gpu(
    runs_per_gpu: int, processes: Processes
) -> None:
    """Again and again, since they need not collide every time."""
    for _ in range(10):
        found = processes(4 * runs_per_gpu, some_gpus(4), runs_per_gpu)
        got = Counter(map(answer, found))
        assert got == {f"cuda:{number}": runs_per_gpu for number in range(4)}


def test_a_killed_jobs_gpu_goes_to_the_one_that_waits(
    processes, pretend: Pretend, caplog: pytest.LogCaptureFixture
) -> None:
    uuids = some_gpus(3)
    found = processes(3, uuids)
    holders = {answer(job): job[0] for job in found}
    pretend(*uuids)
    looks = 0

    def kill_after_some_looks() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            holders["cuda:1"].kill()
        assert looks < 100 * SECONDS

    with (
        caplog.at_level(logging.INFO, logger="perigee"),
        own_gpu("auto", 1, kill_after_some_looks) as got,
    ):
        assert got == "cuda:1"
    assert looks >= 3
    first, *others = caplog.messages
    assert first == "waiting for a GPU: " + "; ".join(
        f"cuda:{number} is held by process {holders[f'cuda:{number}'].pid}" for number in range(3)
    )
    assert not [message for message in others if "waiting" in message]


def test_a_stopped_job_keeps_its_gpu(processes: Processes, pretend: Pretend) -> None:
    uuids = some_gpus(1)
    ((process, told),) = processes(1, uuids)
    answer((process, told))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    pretend(*uuids)
    with pytest.raises(NoneFreeError), own_gpu("auto", 1, give_up):
        pass


def test_a_program_that_the_job_starts_does_not_keep_the_gpu(pretend: Pretend) -> None:
    pretend(*some_gpus(1))
    with own_gpu("auto", 1):
        child = subprocess.Popen(["sleep", str(SECONDS)], close_fds=False)
    try:
        with own_gpu("auto", 1, give_up) as got:
            assert got == "cuda:0"
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_holder_can_be_asked_for_any_number_of_times(pretend: Pretend, jobs: ExitStack) -> None:
    """It never answers, so that the kernel takes in so many questions and no more."""
    (uuid,) = some_gpus(1)
    pretend(uuid)
    jobs.enter_context(own_gpu("auto", 1))
    name = next(gpus._possible_names(uuid))
    started = time.monotonic()
    answers = [gpus._holder(name) for _ in range(5000)]
    assert answers[0] == f"process {os.getpid()}"
    assert set(answers) <= {f"process {os.getpid()}", "another process"}
    assert time.monotonic() - started < SECONDS
    # Nor do the questions keep the GPU.
    jobs.close()
    with own_gpu("auto", 1, give_up) as got:
        assert got == "cuda:0"


def test_who_is_faster_leads_to_the_next_gpu(
    pretend: Pretend, jobs: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another job may take a GPU between the check which are free and the attempt to hold it."""
    uuids = some_gpus(2)
    pretend(*uuids)
    names = [next(gpus._possible_names(uuid)) for uuid in uuids]
    holder = gpus._listen(names[0])
    assert holder is not None
    jobs.enter_context(closing(holder))
    monkeypatch.setattr(gpus, "_names_in_use", set)
    assert jobs.enter_context(own_gpu("auto", 1, give_up)) == "cuda:1"
    with pytest.raises(NoneFreeError):
        jobs.enter_context(own_gpu("auto", 1, give_up))
    holder.close()
    assert jobs.enter_context(own_gpu("auto", 1, give_up)) == "cuda:0"
