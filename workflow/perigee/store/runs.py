"""The files of a run, and what shorter and longer versions of it give each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

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
    return sorted(int(m[1]) for m, path in named if m and (path / PROVENANCE).is_file())


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


def first_epochs(
    metrics: pd.DataFrame, steps: pd.DataFrame, epochs: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables that the same run of fewer epochs would have written."""
    shorter_metrics = metrics[metrics["epoch"] <= epochs].reset_index(drop=True)
    shorter_steps = steps[steps["epoch"] <= epochs].reset_index(drop=True)
    return shorter_metrics, shorter_steps


def run_details(epochs: int, seed: int, stopped_at_step: int | None) -> dict[str, int | None]:
    """What the provenance of a run tells beyond its identity."""
    return {"epochs": epochs, "seed": seed, "stopped_at_step": stopped_at_step}


def longer_versions(store: Path, runs: Mapping[str, PlannedVersion]) -> dict[str, str]:
    """Which planned runs are to be read off a longer version of themselves, and off which.

    That is the shortest longer one that the store holds, or else the longest one planned.

    Args:
        store: the store's folder.
        runs: planned runs by folder below the store.

    Returns:
        Folder of the run -> folder of the longer version. What is in the store already may be among
        them; it is not made again.
    """
    planned: dict[str, list[int]] = {}
    for run in runs.values():
        planned.setdefault(run.identity.folder, []).append(run.epochs)
    found: dict[str, str] = {}
    for folder, run in runs.items():
        kept = kept_epochs(store / run.identity.folder)
        longer_kept = [epochs for epochs in kept if epochs > run.epochs]
        longer_planned = [e for e in planned[run.identity.folder] if e > run.epochs]
        if longer_kept or longer_planned:
            source = min(longer_kept) if longer_kept else max(longer_planned)
            found[folder] = str(epochs_folder(Path(run.identity.folder), source))
    return found
