"""The files of a run, and what shorter and longer versions of it give each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from perigee.identity.products import Identity
from perigee.store.provenance import PROVENANCE, Provenance, read_product
from perigee.store.trajectories import TRAJECTORY_FILES

METRICS, STEPS, STATE = "metrics.parquet", "steps.parquet", "state.safetensors"
TABLES = (METRICS, STEPS)
UNFINISHED, SPARE = "unfinished", "spare"
VERSION_NAME = r"e(\d+)(?:-every(\d+))?"


class PlannedVersion(Protocol):
    """A run up to a number of epochs, as the plan names it."""

    @property
    def identity(self) -> Identity:
        """Of the run, whatever its epochs."""

    @property
    def epochs(self) -> int:
        """Of this version."""

    @property
    def keep_every(self) -> int | None:
        """Whether this version keeps checkpoints, and of how many epochs one."""


def version_name(epochs: int, keep_every: int | None = None) -> str:
    """Of the folder of a run up to a number of epochs; one that keeps checkpoints says so."""
    return f"e{epochs}" if keep_every is None else f"e{epochs}-every{keep_every}"


def kept_versions(run_folder: Path) -> dict[int, Path]:
    """Folders of the complete versions of a run in the store, by their epochs, ascending.

    Where one keeps checkpoints and another does not, the latter stands for that number of epochs.
    """
    found = [(epochs, path) for epochs, _, path in complete_versions(run_folder)]
    return dict(sorted(found, key=lambda version: (version[0], -len(version[1].name))))


def complete_versions(
    run_folder: Path, files: Iterable[str] = ()
) -> list[tuple[int, int | None, Path]]:
    """Epochs, K (None keeps no checkpoints) and folder of a run's complete versions in the store.

    Args:
        run_folder: of all its versions.
        files: that they have to have beside tables and provenance.
    """
    if not run_folder.is_dir():
        return []
    needed = (*TABLES, PROVENANCE, *files)
    found = []
    for path in sorted(run_folder.iterdir()):
        match = re.fullmatch(VERSION_NAME, path.name)
        if match and all((path / name).is_file() for name in needed):
            found.append((int(match[1]), int(match[2]) if match[2] else None, path))
    return found


def unfinished_folder(run_folder: Path, version: str) -> Path:
    """Where the job that trains a version saves its state; no output of any rule."""
    return run_folder / UNFINISHED / version


def spare_folder(run_folder: Path, version: str) -> Path:
    """Where the files of a finished version have a second name; no output of any rule."""
    return run_folder / SPARE / version


def unfinished_folders(run_folder: Path) -> list[Path]:
    """Those of all interrupted jobs of a run."""
    return sorted(path for path in run_folder.glob(f"{UNFINISHED}/e*") if path.is_dir())


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
    fork_epoch: int | None = None,
    keep_every: int | None = None,
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
        fork_epoch: the parent's epoch that the run starts from; None for a run without a parent.
        keep_every: of how many epochs a checkpoint is kept; None keeps none.
    """
    return {
        "epochs": epochs,
        "keep_every": keep_every,
        "seed": seed,
        "stopped_at_step": stopped_at_step,
        "trained_epochs": trained_epochs,
        "seconds": round(seconds, 3),
        "sessions": list(sessions),
        **({} if fork_epoch is None else {"fork_epoch": fork_epoch}),
    }


def longer_versions(store: Path, runs: Mapping[str, PlannedVersion]) -> dict[str, str]:
    """Which planned runs are to be read off another version of themselves, and off which.

    Args:
        store: the store's folder.
        runs: planned runs by folder below the store.

    Returns:
        Folder of the run -> folder of the shortest version that holds all of it: one in the store,
        or else one that keeps checkpoints and is planned. What is in the store already may be
        among the runs; it is not made again.
    """
    planned: dict[str, list[tuple[int, int | None]]] = {}
    for run in runs.values():
        if run.keep_every is not None:
            planned.setdefault(run.identity.folder, []).append((run.epochs, run.keep_every))
    found: dict[str, str] = {}
    for folder, run in runs.items():
        run_folder = run.identity.folder
        files = () if run.keep_every is None else TRAJECTORY_FILES
        kept = [one[:2] for one in complete_versions(store / run_folder, files)]
        for versions in (kept, planned.get(run_folder, [])):
            longer = [version for version in versions if _holds(*version, run)]
            if longer:
                shortest = min(longer, key=lambda version: (version[0], version[1] or 0))
                found[folder] = f"{run_folder}/{version_name(*shortest)}"
                break
    return found


def _holds(epochs: int, keep_every: int | None, run: PlannedVersion) -> bool:
    """Whether another version of a run has all its epochs, and all checkpoints that it keeps."""
    if epochs < run.epochs or (epochs, keep_every) == (run.epochs, run.keep_every):
        return False
    if run.keep_every is None:
        return True
    # The last epoch's checkpoint is kept whatever K is.
    last = epochs == run.epochs or _has_checkpoints(keep_every, run.epochs)
    return last and _has_checkpoints(keep_every, run.keep_every)


def _has_checkpoints(keep_every: int | None, wanted: int | None) -> bool:
    """Whether a version that keeps a checkpoint every so many epochs has every ``wanted``-th."""
    return wanted is None or (keep_every is not None and wanted % keep_every == 0)


def continuable_epochs(run_folder: Path, keep_every: int | None) -> list[int]:
    """Epochs of the versions in the store that training can go on from.

    Args:
        run_folder: of all versions of the run.
        keep_every: of the version to be trained; those without its checkpoints are of no use.
    """
    files = (STATE, *(() if keep_every is None else TRAJECTORY_FILES))
    found = complete_versions(run_folder, files)
    return [epochs for epochs, every, _ in found if _has_checkpoints(every, keep_every)]


def planned_epochs(runs: Iterable[PlannedVersion]) -> dict[str, list[int]]:
    """Of every planned run, by the folder of its digest, the numbers of epochs asked for.

    Versions that keep checkpoints are left out: they can only go on from one that does too.
    """
    planned: dict[str, list[int]] = {}
    for run in runs:
        numbers = planned.setdefault(run.identity.folder, [])
        if run.keep_every is None:
            numbers.append(run.epochs)
    return planned


def planned_predecessor(store: Path, planned: Sequence[int], run: PlannedVersion) -> str | None:
    """The planned version of a run that its training should wait for and go on from.

    Args:
        store: the store's folder.
        planned: for how many epochs this run is planned.
        run: up to one of these.

    Returns:
        Folder of the longest shorter version; None without one, if the store holds a version at
        least as long to go on from, or if the run keeps checkpoints.
    """
    shorter = [epochs for epochs in planned if epochs < run.epochs]
    if not shorter or run.keep_every is not None:
        return None
    kept = kept_versions(store / run.identity.folder)
    if any(max(shorter) <= epochs < run.epochs for epochs in kept):
        return None
    return f"{run.identity.folder}/{version_name(max(shorter))}"
