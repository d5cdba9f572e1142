"""Explanations of SLURM's refusals: a sentence with the line of the profile to change."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROFILE = "slurm"

GPU_KEYS = ("gres", "gpu_model", "gpu")

WRONG_ACCOUNT = "Invalid account"
"""The words of sbatch about an account that it does not take."""


NO_ANSWER = "SLURM does not answer: its controller is away. Start Snakemake again when it is back."


def refusal(error: str, job: str, resources: Mapping[str, Any]) -> str | None:
    """Why SLURM will not take a job, and what to change.

    Args:
        error: what sbatch wrote.
        job: name of its rule or group.
        resources: what it asks for.

    Returns:
        A sentence; None if the refusal is none that a profile can mend (a full queue, a node that
        is down), so that submitting should be tried.
    """
    said = error.lower()
    if "unable to contact" in said:
        return NO_ANSWER
    partition = resources.get("slurm_partition")
    if "accounting/qos policy" in said:
        return None  # a limit on what one user may have in the queue, as a rule
    if "invalid partition" in said:
        return (
            f"SLURM has no partition '{partition}' (it has: {_sinfo('%R')}); change "
            f"{_line('slurm_partition', partition)}."
        )
    if WRONG_ACCOUNT.lower() in said:
        account = resources.get("slurm_account")
        what = f"does not take the account '{account}'" if account else "wants an account"
        return f"SLURM {what} for {job}; set {_line('slurm_account', account)}."
    if "node configuration is not available" in said or "generic resource" in said:
        here = [f"--partition={partition}"] if partition else []
        # SLURM answers alike whether no node has what is asked for or the node that has is down.
        if _has_gpus(resources, "--states=down,drain,fail,maint,unknown", *here):
            return None
        asked_for = ", ".join(
            f"{key}: {resources[key]}"
            for key in ("gres", "gpu", "gpu_model", "mem_mb", "constraint")
            if resources.get(key)
        )
        key = next(filter(resources.get, GPU_KEYS), "mem_mb")
        if _has_gpus(resources, *here):
            key = "mem_mb"  # it is not for the GPUs
        elif _has_gpus(resources):
            key = "slurm_partition"  # another one has them
        return (
            f"No node has what {job} asks for ({asked_for}, {resources.get('_cores', 1)} CPUs; "
            f"there are nodes with {_sinfo('%G, %m MB, %c CPUs')}); change "
            f"{_line(key, resources.get(key))}."
        )
    if "time limit is invalid" in said:
        return (
            f"{job} asks for {resources.get('runtime')} minutes, more than the partition allows "
            f"({_sinfo('%R: %l')}); set 'longest_run_minutes' in config/config.yaml to what it "
            f"allows, or change {_line('slurm_partition', partition)}."
        )
    if "invalid qos" in said:
        return (
            f"SLURM does not take the QOS for {job}; change {_line('qos', resources.get('qos'))}."
        )
    return None


def _has_gpus(resources: Mapping[str, Any], *options: str) -> bool:
    """True if a node, of those that options of sinfo choose, has the GPUs that are asked for.

    Any has, if none are.
    """
    lines = _lines_of_sinfo("--format=%G", *options)
    if not any(map(resources.get, GPU_KEYS)):
        return bool(lines)
    asked_for = re.fullmatch(r"gpu(?::([^:]*[^:\d][^:]*))?(?::(\d+))?", str(resources.get("gres")))
    model = resources.get("gpu_model") or (asked_for and asked_for[1])
    count = int(resources.get("gpu") or (asked_for and asked_for[2]) or 1)
    return any(
        model in (None, has) and int(number) >= count
        for line in lines
        for has, number in re.findall(r"gpu(?::([^:,()]+))?:(\d+)", line)
    )


def _sinfo(shown: str) -> str:
    """The different lines of `sinfo`, in a row."""
    return "; ".join(sorted(set(_lines_of_sinfo(f"--format={shown}")))) or "see sinfo"


def _lines_of_sinfo(*options: str) -> list[str]:
    try:
        answer = subprocess.run(
            ["sinfo", "--noheader", *options],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines()]


def _line(key: str, value: object) -> str:
    """The key and where the profile gives it this value, or could."""
    path = _profile()
    if path is None:
        return f"'{key}' in the profile"
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    found = [(n, line) for n, line in lines if line.lstrip("# ").startswith(f"{key}:")]
    exact = [n for n, line in found if str(value) in line and not line.lstrip().startswith("#")]
    numbers = exact or [n for n, _ in found]
    return f"'{key}' in line {numbers[0]} of {path}" if numbers else f"'{key}' in {path}"


def _profile() -> Path | None:
    """The file of the profile given on the command line."""
    # Not above: Snakemake imports plugins first, and the library has to be that of its Snakefile.
    from perigee.profiles import given_profile

    return given_profile(sys.argv, PROFILE)
