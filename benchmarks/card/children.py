"""Processes of their own that benchmarks/gpu.py starts, and talks to line by line."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
LIBRARY = BENCHMARKS.parent / "workflow"


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
    """Several processes alike; they are killed with the context if they have not ended by then."""
    with ExitStack() as stack:
        crew = []
        for _ in range(count):
            child = Child(module, *arguments, environment=environment)
            stack.callback(_end, child)
            crew.append(child)
        yield crew


def _end(child: Child) -> None:
    process = child.process
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
