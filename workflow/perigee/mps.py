"""NVIDIA's Multi-Process Service (MPS): jobs that share a GPU compute at once, not in turns.

Without it a GPU switches between processes, and runs the kernels of one at a time. The first job of
a node that shares a GPU starts the service's daemon, in folders of its own, and the last one ends
it. Jobs count by locks on a file, which the kernel takes back the moment a process ends, however it
ends. A job that finds no service computes all the same, in time slices.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("perigee")

CONTROL = "nvidia-cuda-mps-control"
"""The program that starts the daemon, and sends it commands; it comes with the driver."""

DRIVER = Path("/proc/driver/nvidia")
"""A folder that there is where NVIDIA's driver is loaded."""

PLACE = Path("/tmp")
"""The parent of the service's folder: a disk of the node, and names short enough for sockets."""

PATIENCE_S = 30
"""The seconds after which the daemon, or the trial of it, counts as failed (our choice)."""

PAUSE_S = 0.2
"""The seconds between looks at what is waited for (our choice)."""

TRIAL = """
import ctypes, sys
cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
failed = (
    cuda.cuInit(0)
    or cuda.cuDeviceGet(ctypes.byref(device), 0)
    or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
)
sys.exit(f"CUDA's error {failed}" if failed else 0)
"""
"""A program that uses a GPU: a daemon that runs need not have a server that works."""

Environment = Mapping[str, str]
Waiting = Callable[[], None]


class MPSError(Exception):
    """The service cannot be had; the message says why."""


@contextmanager
def shared_gpus(device: str, runs_per_gpu: int, waiting: Waiting = lambda: None) -> Iterator[None]:
    """While the context is active, this process uses the service, if there is one.

    It has to be entered before CUDA is initialised, which looks at the environment once. Nothing
    that goes wrong here ends a job: the first one logs why, and all compute in time slices.

    Args:
        device: see `perigee.gpus.own_gpu`.
        runs_per_gpu: how many jobs may share a GPU; one alone needs no service.
        waiting: called repeatedly until the service is there; what it raises ends the waiting.
    """
    if runs_per_gpu < 2 or device == "cpu" or not (shutil.which(CONTROL) or DRIVER.exists()):
        yield
        return
    jobs = None
    try:
        jobs = _Jobs(own_folder())
        environment = jobs.join(waiting)
    except (OSError, MPSError) as error:
        logger.warning(
            "runs that share a GPU compute in time slices, since CUDA MPS cannot be had: %s", error
        )
        environment = {}
    except BaseException:
        if jobs is not None:
            jobs.close()
        raise
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if jobs is not None:
            jobs.leave()


def own_folder() -> Path:
    """The folder of this user's service on this node, which is made if need be.

    A SLURM job has a service of its own: the daemon ends with the job that started it, and sees
    that job's GPUs only.

    Raises:
        MPSError: the folder is another user's, or others may write into it.
        OSError: it cannot be made.
    """
    slurm = re.sub(r"\W", "", os.environ.get("SLURM_JOB_ID", ""))
    folder = PLACE / f"perigee-mps-{os.getuid()}{slurm and f'-{slurm}'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise MPSError(f"{folder} is not a folder that only this user can write into")
    return folder


def environment_in(folder: Path) -> Environment:
    """The variables by which programs find a service with its files in this folder."""
    return {
        "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
        "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
    }


def start(folder: Path, waiting: Waiting = lambda: None) -> None:
    """Start the daemon, unless one runs in this folder, and try it.

    The daemon sees all GPUs, and its clients those that their own ``CUDA_VISIBLE_DEVICES`` names.

    Args:
        folder: of the service.
        waiting: see `shared_gpus`.

    Raises:
        MPSError: there is no service; none is left running then, nor if ``waiting`` raises.
    """
    environment = environment_in(folder)
    try:
        for path in environment.values():
            Path(path).mkdir(exist_ok=True)
    except OSError as error:
        raise MPSError(f"{error.filename} cannot be made ({error.strerror})") from error
    visible = "CUDA_VISIBLE_DEVICES"
    daemon = {k: v for k, v in {**os.environ, **environment}.items() if k != visible}
    try:
        failed = _run([CONTROL, "-d"], daemon, waiting=waiting)
        # It fails where one runs already, left by a job that was killed. Without any, CUDA would
        # use the GPU as it always does, so the trial would not tell.
        if failed and _run([CONTROL], daemon, "get_server_list\n", waiting=waiting):
            raise MPSError(f"{CONTROL} -d: {failed}")
        if failed := try_out(folder, waiting):
            raise MPSError(failed)
    except BaseException:
        stop(folder)
        raise


def try_out(folder: Path, waiting: Waiting = lambda: None) -> str:
    """Use a GPU through the daemon in this folder.

    Args:
        folder, waiting: see `start`.

    Returns:
        Why that failed; "" if it did not.
    """
    environment = {**os.environ, **environment_in(folder)}
    failed = _run([sys.executable, "-c", TRIAL], environment, is_heard=True, waiting=waiting)
    return failed and f"a program cannot use a GPU through it: {failed}"


def stop(folder: Path) -> None:
    """End the daemon in this folder, if there is one, and remove its files.

    Its last client may be this process, which has done its work but keeps its place to its end; the
    daemon does not wait for it any longer than for a second.
    """
    if not _run([CONTROL], {**os.environ, **environment_in(folder)}, "quit -t 1\n"):
        for path in environment_in(folder).values():
            shutil.rmtree(path, ignore_errors=True)


class _Jobs:
    """The jobs of one user on this node that use the service, this process among them.

    Each holds a shared lock on one file, in which the first one wrote whether there is a service.
    A second file is locked while one joins or leaves.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs = os.open(folder / "jobs", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def join(self, waiting: Waiting) -> Environment:
        """Count as one of the jobs; the first one starts the service.

        Args:
            waiting: see `shared_gpus`.

        Returns:
            The variables by which this process finds the service; none if there is none.

        Raises:
            MPSError: the service cannot be had, or works no longer; where the first job could not
                start it, the others are not told.
        """
        with self._turn(waiting):
            if not self._is_alone():
                fcntl.flock(self._jobs, fcntl.LOCK_SH)
                if os.pread(self._jobs, 1, 0) != b"1":
                    return {}
                if failed := try_out(self._folder, waiting):
                    raise MPSError(failed)
                return environment_in(self._folder)
            try:
                start(self._folder, waiting)
            except MPSError:
                self._note(b"0")
                raise
            self._note(b"1")
            logger.info("runs share a GPU through CUDA MPS")
            return environment_in(self._folder)

    def leave(self) -> None:
        """Count no longer; the last one ends the service."""
        try:
            with self._turn():
                if self._is_alone() and os.pread(self._jobs, 1, 0) == b"1":
                    stop(self._folder)
                    os.ftruncate(self._jobs, 0)
                fcntl.flock(self._jobs, fcntl.LOCK_UN)
        except OSError as error:
            logger.warning("CUDA MPS was not ended: %s", error)
        finally:
            self.close()

    def close(self) -> None:
        """Count no longer, without a look at the service, as when `join` was interrupted."""
        os.close(self._jobs)

    def _note(self, runs: bytes) -> None:
        os.pwrite(self._jobs, runs, 0)
        fcntl.flock(self._jobs, fcntl.LOCK_SH)

    def _is_alone(self) -> bool:
        """Take the file for this process alone, if no other job has it."""
        try:
            fcntl.flock(self._jobs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @contextmanager
    def _turn(self, waiting: Waiting = lambda: None) -> Iterator[None]:
        """While the context is active, no other job joins or leaves."""
        with (self._folder / "turn").open("w", encoding="utf-8") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting()
                    time.sleep(PAUSE_S)
            yield


def _run(
    command: list[str],
    environment: Environment,
    told: str = "",
    *,
    is_heard: bool = False,
    waiting: Waiting = lambda: None,
) -> str:
    """Run a program to its end.

    Args:
        command, environment: the program.
        told: what it reads.
        is_heard: whether its errors are read. A daemon would keep a pipe open.
        waiting: see `shared_gpus`; if it raises, the program is killed.

    Returns:
        Why it failed; "" if it did not.
    """
    try:
        program = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if is_heard else subprocess.DEVNULL,
            encoding="utf-8",
        )
    except OSError as error:
        return str(error)
    began = time.monotonic()
    unsent: str | None = told
    with program:
        try:
            while True:
                try:
                    _, errors = program.communicate(unsent, timeout=PAUSE_S)
                    break
                except subprocess.TimeoutExpired:
                    unsent = None
                    waiting()
                if time.monotonic() - began > PATIENCE_S:
                    program.kill()
                    return f"{command[0]} took more than {PATIENCE_S} s"
        except BaseException:
            program.kill()
            raise
    if not program.returncode:
        return ""
    return (errors or "").strip() or f"it ended with {program.returncode}"
