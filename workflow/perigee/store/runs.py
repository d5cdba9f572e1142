"""The files of a run, and what shorter and longer versions of it give each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from perigee.identity.products import Identity
from perigee.store.provenance import PROVENANCE, Provenance, read_product

METRICS, STEPS, STATE = "metrics.parquet", "steps.parquet", "state.safetensors"
TABLES = (METRICS, STEPS)


class PlannedVersion(Protocol):
    """A run up to a number of epochs, as the plan names it."""

    @property
    def identity(self) -> Identity:
        """Of the run, whatever its epochs."""

    @property
    def epochs(self) -> int:
        """Of this version."""


def kept_epochs(run_folder: Path) -> list[int]:
    """For how many epochs the store holds a complete version of a run, ascending."""
    if not run_folder.is_dir():
        return []
    named = ((re.fullmatch(r"e(\d+)", path.name), path) for path in run_folder.iterdir())
    complete = (*TABLES, PROVENANCE)
    return sorted(
        int(match[1])
        for match, path in named
        if match and all((path / name).is_file() for name in complete)
    )


def unfinished_folder(run_folder: Path, epochs: int) -> Path:
    """Where a job that trains that many epochs saves its state; no output of any rule."""
    return run_folder / "unfinished" / f"e{epochs}"


def spare_folder(run_folder: Path, epochs: int) -> Path:
    """Where the files of a finished version have a second name; no output of any rule."""
    return run_folder / "spare" / f"e{epochs}"


def unfinished_folders(run_folder: Path) -> list[Path]:
    """Those of all interrupted jobs of a run."""
    return sorted(path for path in run_folder.glob("unfinished/e*") if path.is_dir())


def epochs_folder(run_folder: Path, epochs: int) -> Path:
    """Where the version of that many epochs stands."""
    return run_folder / f"e{epochs}"


def read_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, Provenance]:
    """Verified metrics and steps of a finished run, with its provenance.

    Raises:
        PerigeeError: the product is incomplete, foreign or was changed.
    """
    provenance = read_product(folder, TABLES)
    metrics, steps = (pd.read_parquet(folder / name) for name in TABLES)
    return metrics, steps, provenance


def write_tables(folder: Path, metrics: pd.DataFrame, steps: pd.DataFrame) -> None:
    """metrics.parquet and steps.parquet, without provenance."""
    metrics.to_parquet(folder / METRICS, index=False)
    steps.to_parquet(folder / STEPS, index=False)


def run_details(
    epochs: int,
    seed: int,
    stopped_at_step: int | None,
    trained_epochs: int,
    seconds: float = 0.0,
    sessions: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What the provenance of a run tells beyond its identity.

    Args:
        epochs: asked for.
        seed: of the run.
        stopped_at_step: see `perigee.training.record.RunRecord`.
        trained_epochs: how many this job trained, its interrupted starts included, those that it
            went on from not counted.
        seconds: of wall time that took.
        sessions: hardware and versions of each start.
    """
    return {
        "epochs": epochs,
        "seed": seed,
        "stopped_at_step": stopped_at_step,
        "trained_epochs": trained_epochs,
        "seconds": round(seconds, 3),
        "sessions": list(sessions),
    }


def longer_versions(store: Path, runs: Mapping[str, PlannedVersion]) -> dict[str, str]:
    """Which planned runs can be read off a longer version that the store holds, and off which.

    Args:
        store: the store's folder.
        runs: planned runs by folder below the store.

    Returns:
        Folder of the run -> folder of the shortest longer version. What is in the store already may
        be among them; it is not made again.
    """
    found: dict[str, str] = {}
    for folder, run in runs.items():
        longer = [e for e in kept_epochs(store / run.identity.folder) if e > run.epochs]
        if longer:
            found[folder] = str(epochs_folder(Path(run.identity.folder), longer[0]))
    return found


def planned_epochs(runs: Iterable[PlannedVersion]) -> dict[str, list[int]]:
    """Of every planned run, by the folder of its digest, the numbers of epochs asked for."""
    planned: dict[str, list[int]] = {}
    for run in runs:
        planned.setdefault(run.identity.folder, []).append(run.epochs)
    return planned


def planned_predecessor(store: Path, planned: Sequence[int], run: PlannedVersion) -> str | None:
    """The planned version of a run that its training should wait for and go on from.

    Args:
        store: the store's folder.
        planned: for how many epochs this run is planned.
        run: up to one of these.

    Returns:
        Folder of the longest shorter version; None without one, or if the store holds a version
        at least as long to go on from.
    """
    shorter = [epochs for epochs in planned if epochs < run.epochs]
    if not shorter:
        return None
    kept = kept_epochs(store / run.identity.folder)
    if any(max(shorter) <= epochs < run.epochs for epochs in kept):
        return None
    return str(epochs_folder(Path(run.identity.folder), max(shorter)))
