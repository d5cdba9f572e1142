"""Processes of their own that benchmarks/gpu.py starts, and talks to line by line."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
LIBRARY = BENCHMARKS.parent / "workflow"

END_S = 10
"""The seconds in which processes have to end once they are told to."""


class Child:
    """A module of this package, run in a process with pipes.

    Args:
        module: its name, e.g. "card.sharing".
        arguments: its command line.
        environment: what is added to this process's environment.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] = {}) -> None:
        given = os.environ.get("PYTHONPATH")
        path = [str(LIBRARY), str(BENCHMARKS), *([given] if given else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def tell(self, line: str) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    def hear(self, seconds: float) -> str:
        """The next line.

        Raises:
            RuntimeError: the process ended, or says nothing for so many seconds.
        """
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], seconds)
            piece = self.process.stdout.read(1) if ready else b""
            if not piece:
                raise RuntimeError(
                    f"a process said nothing for {seconds:.0f} s"
                    if not ready
                    else f"a process ended with {self.process.wait(10)}"
                )
            line += piece
        return line.decode().strip()


@contextmanager
def children(
    count: int, module: str, *arguments: str, environment: Mapping[str, str] = {}
) -> Iterator[list[Child]]:
    """Several processes alike.

    At the context's end their pipes are closed, which tells them to end; those that have not ended
    after `END_S` are killed. If the context ends with an exception, all are killed at once.
    """
    crew: list[Child] = []
    given = 0.0
    try:
        for _ in range(count):
            crew.append(Child(module, *arguments, environment=environment))
        yield crew
        given = END_S
    finally:
        _end(crew, given)


def _end(crew: Sequence[Child], seconds: float) -> None:
    for child in crew:
        for pipe in (child.process.stdin, child.process.stdout):
            if pipe is not None:
                pipe.close()
    deadline = time.monotonic() + seconds
    for child in crew:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(deadline - time.monotonic(), 0))
    for child in crew:
        child.process.kill()
    for child in crew:
        child.process.wait()
