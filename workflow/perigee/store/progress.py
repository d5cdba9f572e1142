"""How far a training job has come: a small file that it keeps beside its saved state."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from perigee.store.writing import write_text_atomically

PROGRESS = "progress.json"
FIRST_WITHIN_S = 600.0
"""Seconds within which a job's first epoch is expected (our choice)."""


@dataclass(frozen=True)
class Progress:
    """A training job's note on its progress.

    Attributes:
        epochs: of the run in all.
        epoch: after which this was noted; None before the first metrics.
        train_loss: then.
        steps_per_second: of this process; None before its first epoch, as is the next.
        seconds_left: of training, counted from ``written``.
        next_within: seconds within which the next note is expected.
        machine: that the process runs on.
        process: its id there.
        job: the cluster's id of the job it is part of, if it is known.
        written: seconds since 1970; of one that was read, as the file system has it.
    """

    epochs: int
    epoch: int | None = None
    train_loss: float | None = None
    steps_per_second: float | None = None
    seconds_left: float | None = None
    next_within: float = FIRST_WITHIN_S
    machine: str = field(default_factory=platform.node)
    process: int = field(default_factory=os.getpid)
    job: str | None = field(default_factory=lambda: os.environ.get("SLURM_JOB_ID"))
    written: float = field(default_factory=time.time)

    @property
    def is_overdue(self) -> bool:
        """True once the next note is late: after twice its time and half a minute."""
        return time.time() - self.written > 2 * self.next_within + 30  # our choice


def write_progress(folder: Path, progress: Progress) -> None:
    """Replace what stands in a folder, which is made if need be.

    Raises:
        OSError: it cannot be written.
    """
    write_text_atomically(folder / PROGRESS, json.dumps(asdict(progress)))


def read_progress(folder: Path) -> Progress | None:
    """The last note in a folder; None without a readable one."""
    path = folder / PROGRESS
    try:
        progress = Progress(**json.loads(path.read_text(encoding="utf-8")))
        return replace(progress, written=path.stat().st_mtime)
    except (OSError, ValueError, TypeError):
        return None


def duration(seconds: float) -> str:
    """In hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
