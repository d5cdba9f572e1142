"""The time of a group of short runs on SLURM: four runs as one submission, in several ways.

They train side by side as the profile `slurm/` has it, one after another with a single core, and
as Snakemake's own SLURM plugin runs a group. Measured is how long the SLURM job runs, which SLURM
tells in whole seconds. Needs root, and SLURM and munge (Debian: slurm-wlm munge): the one-node
SLURM of tests/support is started, and stopped at the end.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml
from common import ROOT, Report, Summary, Target, main
from dry_run import copy_repository, snakemake

CLUSTER = ROOT / "tests/support"
RATES, EPOCHS = [0.05, 0.1, 0.2, 0.3], 80
SIDE_BY_SIDE, IN_TURN, PLUGIN = "side by side, s", "one core, s", "the plugin's own way, s"
RATIO = "the plugin's own way / side by side"
RUN_FOUR = ("--profile", "slurm", "periodic_fig3", "--until", "train_run", "--cores")


def four_runs(folder: Path) -> Path:
    """A copy of the repository whose figure 3 shows four runs of some seconds at smoke scale."""
    copy_repository(folder)
    path = folder / "config/scales/smoke/periodic/fig3.yaml"
    overlay = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = ("lowest", "low", "high", "highest")
    overlay["runs"]["rates"] |= {
        "epochs": EPOCHS,
        "sweep": {"optimiser.learning_rate": dict(zip(names, RATES, strict=True)), "seed": [0]},
    }
    path.write_text(yaml.safe_dump(overlay, sort_keys=False), encoding="utf-8")
    return folder


def use_the_plugin(folder: Path) -> Path:
    """Make the profile use Snakemake's own SLURM plugin."""
    path = folder / "slurm/profile.yaml"
    text = path.read_text(encoding="utf-8").replace("executor: perigee-slurm", "executor: slurm")
    path.write_text(text.replace("\nperigee-slurm-", "\nslurm-"), encoding="utf-8")
    return folder


def job_seconds(folder: Path, cores: int) -> float:
    """The run time of the one SLURM job that trains the four runs."""
    for left in ("results", ".snakemake"):
        shutil.rmtree(folder / left, ignore_errors=True)
    said = snakemake(folder, [*RUN_FOUR, str(cores), "--config", "scale=smoke"])
    numbers = re.findall(r"submitted with SLURM jobid (\d+)", said)
    if len(numbers) != 1:
        sys.exit(f"{len(numbers)} SLURM jobs were submitted, not one:\n{said}")
    told = subprocess.run(
        ["scontrol", "show", "job", numbers[0]], capture_output=True, encoding="utf-8", check=True
    ).stdout
    hours, minutes, seconds = map(int, re.findall(r"RunTime=(\d+):(\d+):(\d+)", told)[0])
    return 3600.0 * hours + 60 * minutes + seconds


def measure(repetitions: int) -> Report:
    with tempfile.TemporaryDirectory() as name:
        ours = four_runs(Path(name) / "ours")
        plugin = use_the_plugin(four_runs(Path(name) / "plugin"))
        ways: dict[str, Callable[[], float]] = {
            SIDE_BY_SIDE: partial(job_seconds, ours, 4),
            IN_TURN: partial(job_seconds, ours, 1),
            PLUGIN: partial(job_seconds, plugin, 4),
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        subprocess.run([CLUSTER / "start-cluster.sh"], check=True)
        try:
            for _ in range(repetitions):
                for way, seconds in ways.items():
                    found[way].append(seconds())
        finally:
            subprocess.run([CLUSTER / "stop-cluster.sh"], check=True)
    ratios = [p / s for p, s in zip(found[PLUGIN], found[SIDE_BY_SIDE], strict=True)]
    return Report(
        figures={RATIO: Summary.of(ratios)} | {way: Summary.of(s) for way, s in found.items()},
        target=Target(RATIO, ">=", 1.5),
        conditions={"runs": len(RATES), "epochs": EPOCHS, "GPUs": "pretended; trained on the CPU"},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=2, measure=measure)
