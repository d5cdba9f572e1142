"""What a user is told of a job that failed: which product, why, and where more stands."""

from __future__ import annotations

import errno
import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perigee.errors import PerigeeError

_LOG_OF_A_FAILED_JOB = re.compile(r"^\s+log: (.+) \(check log file\(s\) for error details\)$", re.M)
_PROGRAMS_LAST_WORD = re.compile(r"^[\d-]+ [\d:]+ (perigee [a-z -]+: .+)$")


def reason(error: BaseException, out: Path | None) -> str:
    """Why a program failed, in one line.

    Args:
        error: that ended it.
        out: what it was to write, if anything.
    """
    text = " ".join(str(error).split())
    if _is_full_disk(error):
        folder = _existing(Path(getattr(error, "filename", None) or out or "."))
        free = shutil.disk_usage(folder).free / 1e6
        return (
            f"no room left on the disk of {folder} ({free:.1f} MB free now; {text}); remove what "
            "may go ('perigee store clean' lists it) or set another folder "
            "'results' in config/config.yaml, and run again."
        )
    if _is_want_of_memory(error):
        return (
            f"not enough memory ({text}); run fewer jobs at a time (--cores), give the rule more "
            "memory (--set-resources RULE:mem_mb=...), or make the network smaller."
        )
    if isinstance(error, PerigeeError | OSError):
        return text
    return f"{type(error).__name__}: {text}"


@dataclass(frozen=True)
class Failure:
    """How a program ended that did not do what it was to.

    Attributes:
        reason: in one line; "" if it could not be noted.
        exit_status: of the program.
        moment: seconds since 1970, as the file system has it.
    """

    reason: str
    exit_status: int
    moment: float

    @property
    def was_stopped(self) -> bool:
        """Whether it was told to by a signal, and so nothing is wrong."""
        return self.exit_status > 128


def note_failure(log: Path, why: str, exit_status: int) -> None:
    """Note beside a program's log that it failed; that this cannot be written is passed over."""
    with suppress(OSError):
        _record(log).write_text(json.dumps({"reason": why, "exit_status": exit_status}))


def forget_failure(log: Path) -> None:
    """To be called when a program begins: what an earlier one with this log noted is over."""
    _record(log).unlink(missing_ok=True)


def noted_failure(log: Path) -> Failure | None:
    """How the last program with this log failed; None if it did not, or could not tell.

    A record cut off, as on a full disk, still tells that it failed.
    """
    path = _record(log)
    try:
        moment, text = path.stat().st_mtime, path.read_text()
    except OSError:
        return None
    try:
        noted = json.loads(text)
        return Failure(str(noted["reason"]), int(noted["exit_status"]), moment)
    except (ValueError, KeyError, TypeError):
        return Failure("", 1, moment)


def _record(log: Path) -> Path:
    return log.with_suffix(".failed.json")


def failed_jobs(snakemake_log: str) -> list[str]:
    """Of each job that failed, once, "failed: " and the last word of its program.

    Args:
        snakemake_log: what Snakemake wrote to its own log.
    """
    paths = dict.fromkeys(_LOG_OF_A_FAILED_JOB.findall(snakemake_log))
    return [f"failed: {_last_word(Path(path))}" for path in paths]


def _last_word(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = _PROGRAMS_LAST_WORD.match(lines[-1]) if lines else None
    if found:
        return found[1]
    return (
        f"{log}: its job ended without a word, as one does that was killed: by the system for want "
        "of memory, at a time limit, or by hand."
    )


def _is_full_disk(error: BaseException) -> bool:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    # Not every library passes the number on.
    return full or "No space left on device" in str(error) or "StorageFull" in str(error)


def _is_want_of_memory(error: BaseException) -> bool:
    # PyTorch has a class of its own for GPUs, and for main memory none.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator" in str(error)
    )


def _existing(path: Path) -> Path:
    return path if path.is_dir() or path == path.parent else _existing(path.parent)
