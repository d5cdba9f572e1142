"""This user's jobs in SLURM's queue, and the products that they make.

Snakemake's SLURM plugin writes a job's wildcards into the job's comment: the product's name and the
number of its receipt, joined by "_", with "/" written as "_" too. The comment of a group of jobs
names only their rules; its batch script names all the jobs, in Snakemake's option --target-jobs.
"""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from perigee.errors import PerigeeError

ANSWER_S = 5.0
"""The seconds to wait for the queue's answer, and for those about all groups' scripts together (our
choice)."""

FORMAT = "%i|%T|%R|%Z|%k"
"""The format of a line of squeue: id, state, reason or nodes, working folder, comment."""

RUNNING, ENDING = "RUNNING", "COMPLETING"
WILDCARDS = "_wildcards_"


@dataclass(frozen=True)
class Job:
    """A job in the queue.

    Attributes:
        id: SLURM's id of the job.
        state: the state in SLURM's word, e.g. PENDING or RUNNING.
        place: the nodes it runs on, or, in parentheses, the reason why it waits.
        wildcards: the wildcards of each of its rules' jobs, as the plugin joins them.
        is_group: whether it was submitted as a group, of one or several jobs of Snakemake.
    """

    id: str
    state: str
    place: str
    wildcards: frozenset[str]
    is_group: bool

    def makes(self, name: str) -> bool:
        """Return whether the job makes the product with this name, whatever its receipt."""
        product = re.compile(rf"{re.escape(_joined([name]))}_\d+")
        return any(product.fullmatch(wildcards) for wildcards in self.wildcards)


class Queue:
    """This user's jobs that work on one store.

    Args:
        store: the store's folder. A relative path is relative to a job's working folder.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._members: dict[str, frozenset[str]] = {}
        """The wildcards of groups, by id. A job's script does not change, so it is read once."""

    def jobs(self) -> list[Job]:
        """The jobs that wait or run; empty on a machine without SLURM.

        Raises:
            PerigeeError: squeue exists, but does not answer.
        """
        if shutil.which("squeue") is None:
            return []
        lines = _answer(["squeue", "--me", "--noheader", f"--format={FORMAT}"], ANSWER_S)
        end = time.monotonic() + ANSWER_S
        found = []
        for line in lines.splitlines():
            fields = line.strip().split("|", maxsplit=4)
            if len(fields) < 5:
                continue
            number, state, place, folder, comment = fields
            if state == ENDING or not self._is_ours(Path(folder)):
                continue
            _, single, wildcards = comment.partition(WILDCARDS)
            members = frozenset({wildcards}) if single else self._group(number, end)
            found.append(Job(number, state, place, members, not single))
        return found

    def _is_ours(self, folder: Path) -> bool:
        return (folder / self._store).resolve() == self._store.resolve()

    def _group(self, number: str, end: float) -> frozenset[str]:
        """The wildcards in a job's script; none, for now, if it is not available in time."""
        left = end - time.monotonic()
        if number not in self._members and left > 0:
            try:
                script = _answer(["scontrol", "write", "batch_script", number, "-"], left)
            except PerigeeError:
                return frozenset()
            self._members[number] = _wildcards(script)
        return self._members.get(number, frozenset())


def _wildcards(script: str) -> frozenset[str]:
    """The wildcards of all jobs that a batch script makes: RULE:NAME=VALUE,NAME=VALUE ..."""
    commands = [line for line in script.splitlines() if not line.startswith("#")]
    try:
        words = shlex.split("\n".join(commands))
    except ValueError:
        return frozenset()
    after = itertools.dropwhile(lambda word: word != "--target-jobs", words)
    targets = itertools.takewhile(lambda word: not word.startswith("-"), list(after)[1:])
    pairs = ([pair.partition("=") for pair in target.split(",")] for target in targets)
    return frozenset(_joined([value for _, given, value in one if given]) for one in pairs)


def _joined(wildcards: Iterable[str]) -> str:
    """The values of wildcards as the plugin writes them into a comment."""
    return "_".join(wildcards).replace("/", "_")


def _answer(command: list[str], seconds: float) -> str:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=True,
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise PerigeeError(f"{command[0]} gave no answer within {seconds:.0f} s.") from error
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise PerigeeError(f"{command[0]} failed: {said[-1] if said else error}") from error
