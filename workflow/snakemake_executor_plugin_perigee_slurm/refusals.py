"""What SLURM's refusals mean, in a sentence with the line of the profile to change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

PROFILE = "slurm"


def refusal(error: str, job: str, resources: Mapping[str, Any]) -> str | None:
    """Why SLURM will not take a job, and what to change.

    Args:
        error: what sbatch wrote.
        job: name of its rule or group.
        resources: what it asks for.

    Returns:
        A sentence; None if the refusal is none that a profile can mend (no answer, a node that is
        down), so that submitting should be tried.
    """
    said = error.lower()
    if "invalid partition" in said:
        wanted = resources.get("slurm_partition")
        return (
            f"SLURM has no partition '{wanted}' (it has: {_sinfo('%R')}); change "
            f"{_line('slurm_partition')}."
        )
    if "account" in said:
        wanted = resources.get("slurm_account")
        what = f"does not take the account '{wanted}'" if wanted else "wants an account"
        return f"SLURM {what} for {job}; set {_line('slurm_account')}."
    if "node configuration is not available" in said or "generic resource" in said:
        if _some_are_down():
            return None  # one of them may have it
        wanted = ", ".join(
            f"{key}: {resources[key]}"
            for key in ("gres", "gpu", "gpu_model", "mem_mb", "constraint")
            if resources.get(key)
        )
        key = "gres" if resources.get("gres") else "gpu_model" if resources.get("gpu") else "mem_mb"
        return (
            f"No node has what {job} asks for ({wanted}, {resources.get('_cores', 1)} CPUs; there "
            f"are nodes with {_sinfo('%G, %m MB, %c CPUs')}); change {_line(key)}."
        )
    if "time limit" in said:
        return (
            f"{job} asks for {resources.get('runtime')} minutes, more than the partition allows "
            f"({_sinfo('%R: %l')}); change {_line('runtime')} or {_line('slurm_partition')}."
        )
    if "qos" in said:
        return f"SLURM does not take the QOS for {job}; change {_line('qos')}."
    return None


def _some_are_down() -> bool:
    """Whether there are nodes that cannot be used at present."""
    return bool(_lines_of_sinfo("--states=down,drain,fail,maint,unknown", "--format=%n"))


def _sinfo(shown: str) -> str:
    """What `sinfo` tells, its different lines in a row."""
    return "; ".join(sorted(set(_lines_of_sinfo(f"--format={shown}")))) or "see sinfo"


def _lines_of_sinfo(*options: str) -> list[str]:
    try:
        answer = subprocess.run(
            ["sinfo", "--noheader", *options], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines()]


def _line(key: str) -> str:
    """The key and where the profile has it, or would."""
    path = _profile()
    if path is None:
        return f"'{key}' in the profile"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip("# ").startswith(f"{key}:"):
            return f"'{key}' in line {number} of {path}"
    return f"'{key}' in {path}"


def _profile() -> Path | None:
    """The file of the profile given on the command line."""
    words = [word for argument in sys.argv for word in argument.split("=", 1)]
    given = [after for word, after in pairwise(words) if word == "--profile"]
    for name in [*given, PROFILE]:
        for file in ("profile.yaml", "config.yaml"):
            if (Path(name) / file).is_file():
                return Path(name) / file
    return None
