"""The folders of a run: its versions, and below each the measures that were taken of it.

A version is the run up to a number of epochs, ``e240``. A second trajectory of the same run, made
because the first could not be followed, is ``e240.2``. Measures lie in folders of their own below,
``e240/metrics-<digest>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perigee.blocks.measures import Checkpoints
from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.store.provenance import (
    PROVENANCE,
    Provenance,
    is_there,
    read_product,
    read_provenance,
)

STATE, LOSSES, WEIGHTS = "state.safetensors", "losses.npy", "weights.npy"
RUN_FILES = (LOSSES, WEIGHTS, STATE, PROVENANCE)
ROWS = "rows.npy"
MEASURE_FILES = (ROWS, PROVENANCE)
UNFINISHED = "unfinished"
VERSION = re.compile(r"e(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class Version:
    """A complete run up to a number of epochs.

    Attributes:
        folder: of the version.
        epochs: how many it has.
        trajectory: its number among the trajectories of this length, from 1.
    """

    folder: Path
    epochs: int
    trajectory: int

    @cached_property
    def provenance(self) -> Provenance:
        """The provenance; the files are not verified here."""
        return read_provenance(self.folder)

    def weights_digest(self, epochs: int) -> str:
        """The digest of the weights after some epochs, or after the last that it got to.

        It tells one trajectory from another.
        """
        rows = np.load(self.folder / WEIGHTS, allow_pickle=False)
        return str(rows[min(epochs, len(rows) - 1)]["sha256"].decode())

    def measure(self, identity: Identity, epochs: int) -> Path | None:
        """The folder of a complete measure up to a number of epochs; None if there is none.

        Checkpoints may be read from others that were kept more often.

        Args:
            identity: of the measure.
            epochs: at most those of the version.
        """
        folder = self.folder / identity.label
        if is_there(folder, MEASURE_FILES) and self._holds(identity.spec, epochs, identity.spec):
            return folder
        if identity.name != Checkpoints.name:
            return None
        for other in sorted(self.folder.glob(f"{Checkpoints.name}-*")):
            if not is_there(other, MEASURE_FILES):
                continue
            try:
                kept = read_provenance(other)
            except PerigeeError:
                continue  # damaged: as if it were not there
            same_code = kept.code == identity.code
            if same_code and self._holds(kept.spec, epochs, identity.spec):
                return other
        return None

    def verified(self, measures: Mapping[str, Identity], epochs: int) -> dict[str, Path]:
        """The folders of measures that the version has, whose rows are proven to be as made.

        Args:
            measures: by name; `find_version` has found them all.
            epochs: at most those of the version.

        Raises:
            PerigeeError: one was changed since.
        """
        found = {}
        for name, identity in measures.items():
            folder = self.measure(identity, epochs)
            assert folder is not None
            read_product(folder, [ROWS])
            found[name] = folder
        return found

    def _holds(self, kept: Mapping[str, Any], epochs: int, wanted: Mapping[str, Any]) -> bool:
        """True if a measure has all rows that another with other parameters would have."""
        if kept["name"] != Checkpoints.name or (kept == wanted and epochs == self.epochs):
            return True
        interval, wanted_interval = (spec.get("interval", 1) for spec in (kept, wanted))
        # The last epoch's checkpoint is kept whatever the interval is.
        last = epochs == self.epochs or epochs % interval == 0
        return bool(last and wanted_interval % interval == 0)


def version_name(epochs: int, trajectory: int = 1) -> str:
    """The name of the folder of a run up to a number of epochs."""
    return f"e{epochs}" if trajectory == 1 else f"e{epochs}.{trajectory}"


def versions(run_folder: Path) -> list[Version]:
    """The complete versions of a run in the store, by epochs and trajectory."""
    found = []
    for path in run_folder.glob("e*") if run_folder.is_dir() else ():
        match = VERSION.fullmatch(path.name)
        if match and is_there(path, RUN_FILES):
            found.append(Version(path, int(match[1]), int(match[2] or 1)))
    return sorted(found, key=lambda version: (version.epochs, version.trajectory))


def find_version(
    run_folder: Path, epochs: int, measures: Sequence[Identity] = ()
) -> Version | None:
    """The shortest version of a run that has all its epochs, and all the measures.

    Measures that are read together come from one version, and so from one trajectory.

    Args:
        run_folder: of all versions of the run.
        epochs: how many are needed.
        measures: identities of the measures that are needed.
    """
    for version in versions(run_folder):
        if version.epochs >= epochs and all(version.measure(m, epochs) for m in measures):
            return version
    return None


def unfinished_folder(run_folder: Path, version: str) -> Path:
    """The folder in which the job that trains a version keeps its state and logs."""
    return run_folder / UNFINISHED / version


def unfinished_folders(run_folder: Path) -> list[Path]:
    """The folders of all interrupted jobs of a run."""
    return sorted(path for path in run_folder.glob(f"{UNFINISHED}/*") if path.is_dir())
