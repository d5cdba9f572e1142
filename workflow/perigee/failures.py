"""Messages about failed jobs: the product, the reason, and where to read more."""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from perigee.errors import PerigeeError
from perigee.profiles import memory_advice

_LOG_OF_A_FAILED_JOB = re.compile(r"^\s+log: (.+) \(check log file\(s\) for error details\)$", re.M)
_EXIT_STATUS = re.compile(
    r"^Command '.*--log (.+)' "
    r"(?:returned non-zero exit status (\d+)|died with <Signals\.\w+: (\d+)>)",
    re.M,
)
KILLED = 128 + signal.SIGKILL
"""The exit status of what the system ends for want of memory, and of little else."""
SLURMS_WORD_FOR_IT = "OUT_OF_ME"
_PROGRAMS_LAST_WORD = re.compile(r"^[\d-]+ [\d:]+ (perigee [a-z -]+: .+)$")


def reason(error: BaseException, out: Path | None, log: Path | None = None) -> str:
    """Why a program failed, in one line.

    Args:
        error: that ended it.
        out: what it was to write, if anything.
        log: its log; in the workflow its folder is named after the rule.
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
        return f"not enough memory ({text}); {memory_advice(_rule(log))}."
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
        """True if a signal ended the program, so that nothing is wrong."""
        return self.exit_status > 128


def note_failure(log: Path, why: str, exit_status: int) -> None:
    """Note beside a program's log that it failed; that this cannot be written is passed over."""
    with suppress(OSError):
        text = json.dumps({"reason": why, "exit_status": exit_status})
        _record(log).write_text(text, encoding="utf-8")


def forget_failure(log: Path) -> None:
    """To be called when a program begins: what an earlier one with this log noted is over."""
    _record(log).unlink(missing_ok=True)


def noted_failure(log: Path) -> Failure | None:
    """How the last program with this log failed; None if it did not, or could not tell.

    A record cut off, as on a full disk, still tells that it failed.
    """
    path = _record(log)
    try:
        moment, text = path.stat().st_mtime, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    try:
        noted = json.loads(text)
        return Failure(str(noted["reason"]), int(noted["exit_status"]), moment)
    except (ValueError, KeyError, TypeError):
        return Failure("", 1, moment)


def _record(log: Path) -> Path:
    return log.with_suffix(".failed.json")


def failed_jobs(snakemake_log: str) -> list[str]:
    """A line for each job that failed: "failed: " and the last word of its program.

    Args:
        snakemake_log: what Snakemake wrote to its own log.
    """
    statuses = {
        log.strip("'"): int(a or 0) or 128 + int(b)
        for log, a, b in _EXIT_STATUS.findall(snakemake_log)
    }
    paths = dict.fromkeys(_LOG_OF_A_FAILED_JOB.findall(snakemake_log))
    return [f"failed: {_last_word(Path(path), statuses.get(path))}" for path in paths]


def _last_word(log: Path, exit_status: int | None) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = _PROGRAMS_LAST_WORD.match(lines[-1]) if lines else None
    if found:
        return found[1]
    noted = noted_failure(log)
    told = noted.reason.rstrip(".") if noted else ""
    status = exit_status or (noted.exit_status if noted else None)
    ended = "" if status is None else f" (exit status {status})"
    if status == KILLED or SLURMS_WORD_FOR_IT in told:
        return (
            f"{log}: its program was killed{ended}{told and f', {told}'}, most likely for want of "
            f"memory; {memory_advice(_rule(log))}."
        )
    if told:
        return f"{log}: {told}."
    if not log.is_file():
        return f"{log}: its program did not start{ended}; its error stands above."
    return (
        f"{log}: its program ended without a word{ended}, at a time limit, by hand or by an error "
        "of a library; what it did last stands there."
    )


def _rule(log: Path | None) -> str | None:
    """The rule whose jobs have their logs there; None outside the workflow."""
    parts = log.parts if log else ()
    after = [name for folder, name in pairwise(parts) if folder == "logs"]
    return after[-1] if after else None


def _is_full_disk(error: BaseException) -> bool:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    # Not every library passes the number on.
    return full or "No space left on device" in str(error) or "StorageFull" in str(error)


def _is_want_of_memory(error: BaseException) -> bool:
    # PyTorch has a class of its own for GPUs, and for main memory none.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or getattr(error, "errno", None) == errno.ENOMEM
        or any(words in str(error) for words in ("DefaultCPUAllocator", "Cannot allocate memory"))
    )


def _existing(path: Path) -> Path:
    return path if path.is_dir() or path == path.parent else _existing(path.parent)
