"""Old and new code side by side: each library is asked and run in a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perigee.errors import PerigeeError
from perigee.paths import ROOT

ASK = """
import json, sys
from perigee.identity.products import dataset_identity, run_identity
from perigee.registry import REGISTRY
from perigee.spec import Component, RunSpec

def code(kind, spec):
    blocks = {"dataset": spec} if kind == "dataset" else spec
    names = {b: v["name"] for b, v in blocks.items() if isinstance(v, dict)}
    if any(name not in REGISTRY.get(block, {}) for block, name in names.items()):
        return None
    if kind == "dataset":
        return dataset_identity(Component.from_dict(spec)).code
    return run_identity(RunSpec.from_dict(spec), "").code

json.dump([code(*asked) for asked in json.load(sys.stdin)], sys.stdout)
"""
"""Prints the code digest of each product asked for, null for one that the library cannot make."""

MAKE = """
import json, runpy, sys

for program, *arguments in json.load(sys.stdin):
    sys.argv = [program, *arguments]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(end.code)
"""
"""Runs programs one after the other, so that PyTorch is imported once."""


@dataclass(frozen=True)
class Tree:
    """A checkout.

    Attributes:
        name: for messages.
        root: its folder.
    """

    name: str
    root: Path

    def program(self, script: str, *arguments: str) -> list[str]:
        """A command for `make`."""
        return [str(self.root / "workflow" / "scripts" / script), *arguments]

    def code_digests(self, asked: Sequence[tuple[str, Any]]) -> list[str | None]:
        """Of products, given as (kind, spec), by the tree's own reckoning.

        Returns:
            The digests that count for identity; None for what the tree cannot make.

        Raises:
            PerigeeError: the library does not work.
        """
        return list(json.loads(self._run(ASK, asked)))

    def make(self, programs: Sequence[Sequence[str]]) -> None:
        """Run programs one after the other.

        Raises:
            PerigeeError: one of them failed; the message ends with its own.
        """
        self._run(MAKE, programs)

    def _run(self, code: str, told: Any) -> str:
        process = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root / "workflow")},
            input=json.dumps(told),
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            told_last = reversed(process.stderr.splitlines())
            words = (line for line in told_last if any(map(str.isalnum, line)))
            raise PerigeeError(f"The {self.name} fails: {next(words, 'it gave no message')}")
        return process.stdout


def unpacked(revision: str, folder: Path) -> tuple[Tree, str]:
    """The files of a git revision of this checkout.

    Args:
        revision: as git understands it.
        folder: gets the files.

    Returns:
        The tree, and the commit.

    Raises:
        PerigeeError: there is no such revision, or no git.
    """
    commit = _git(
        "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}", of=revision
    )
    name = commit.decode().strip()
    with tarfile.open(fileobj=io.BytesIO(_git("archive", name, of=revision))) as archive:
        # Python 3.11 has filters from 3.11.4 on; git's own archive needs none.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return Tree(f"old code ({name[:12]})", folder), name


def _git(*arguments: str, of: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
    except OSError as error:
        raise PerigeeError(f"git cannot be started ({error.strerror}); install it.") from error
    except subprocess.CalledProcessError as error:
        told = " ".join(error.stderr.decode().split())
        raise PerigeeError(
            f"git has no revision '{of}' of {ROOT} ({told}); give --old another."
        ) from error
