"""Time of a dry run of all figures with nothing to do, at smoke scale.

The figures are made first, in a temporary copy of the repository's files: those that git tracks
and new ones that it does not ignore, as they are now. Dry runs are then timed in turns with
`snakemake --version`, which starts Snakemake and does nothing. Beside the wall times stand those of
the processor, which other work on the machine hardly changes.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from common import ROOT, Report, Summary, Target, main, ratios, timed_alternately

SMOKE = ("all_figures", "--config", "scale=smoke")
DRY_RUN, VERSION = "snakemake -n all_figures", "snakemake --version"
NOTHING_TO_DO = "Nothing to be done"
WARM_UP = 1


def copy_repository(folder: Path) -> None:
    """Copy the repository's own files, without results and environments."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # a tracked file may have been deleted
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def snakemake(folder: Path, arguments: Sequence[str]) -> str:
    """Run this environment's Snakemake in a folder; returns all that it says.

    Raises:
        SystemExit: it fails.
    """
    programs = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join([programs, os.environ["PATH"]])}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if done.returncode:
        sys.exit(f"snakemake {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def processor_seconds() -> float:
    """The CPU seconds of this process's finished children and their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(repetitions: int) -> Report:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_repository(folder)
        snakemake(folder, SMOKE)
        processor: dict[str, list[float]] = {DRY_RUN: [], VERSION: []}

        def noted(name: str, arguments: Sequence[str]) -> str:
            before = processor_seconds()
            said = snakemake(folder, arguments)
            processor[name].append(processor_seconds() - before)
            return said

        def dry_run(repetition: int) -> None:
            said = noted(DRY_RUN, ["-n", *SMOKE])
            if NOTHING_TO_DO not in said:
                sys.exit(f"The dry run found something to do:\n{said}")

        ways = {DRY_RUN: dry_run, VERSION: lambda repetition: noted(VERSION, ["--version"])}
        seconds = timed_alternately(ways, repetitions, WARM_UP)
    return Report(
        figures={
            **{f"{way}: s": Summary.of(found) for way, found in seconds.items()},
            **{
                f"{way}: s of the processor": Summary.of(found[WARM_UP:])
                for way, found in processor.items()
            },
            "dry run / version": ratios(seconds[DRY_RUN], seconds[VERSION]),
        },
        target=Target(f"{DRY_RUN}: s", "<=", 2),
        conditions={"scale": "smoke", "snakemake": metadata.version("snakemake")},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=7, measure=measure)
