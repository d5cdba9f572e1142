"""A store with a small data set, in which training jobs run as the workflow's programs run them."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perigee.blocks.measures import Measure
from perigee.data.array_files import save_arrays
from perigee.identity.products import (
    Identity,
    dataset_identity,
    measure_identity,
    run_identity,
)
from perigee.interruption import StopRequest
from perigee.jobs.training import TrainingJob
from perigee.spec import RunSpec
from perigee.store.provenance import Provenance, read_provenance
from perigee.store.runs import ROWS, version_name
from perigee.store.writing import product_writer
from support.reference_training import Settings
from support.runs import few_images, make_spec


class StopsAt(StopRequest):
    """A stop request that becomes true when a job checks it for the n-th time.

    A job checks it after every step, mini-batch of a full batch or of a measure, and epoch.

    Attributes:
        looks: how often it was checked.
    """

    def __init__(self, look: float = math.inf) -> None:
        super().__init__()
        self._look = look
        self.looks = 0

    def __bool__(self) -> bool:
        self.looks += 1
        if self.looks == self._look:
            self.note(signal.SIGTERM)
        return super().__bool__()


class Store:
    """A store in a folder.

    Args:
        folder: the store's folder; the data set is built there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dataset_identity = dataset_identity(make_spec(Settings()).dataset)
        self.dataset = folder / self.dataset_identity.folder
        if not self.dataset.exists():
            with product_writer(self.dataset, self.dataset_identity) as aside:
                save_arrays(few_images(), aside)

    def identity(self, spec: RunSpec) -> Identity:
        """The identity of a run."""
        return run_identity(spec, self.dataset_identity.digest)

    def run_folder(self, spec: RunSpec) -> Path:
        """The folder of all versions of a run."""
        return self.folder / self.identity(spec).folder

    def job(self, spec: RunSpec, epochs: int, *measures: Measure, **options: Any) -> TrainingJob:
        """A job that makes or measures a version of a run."""
        settings: dict[str, Any] = {
            "device": "cpu",
            "progress_interval": 1e9,
            "save_interval": math.inf,
            "parent": None if spec.parent is None else self.run_folder(spec.parent.run),
        }
        return TrainingJob(
            identity=self.identity(spec),
            spec=spec,
            epochs=epochs,
            measures=measures,
            dataset=self.dataset,
            out=self.run_folder(spec) / version_name(epochs),
            **{**settings, **options},
        )

    def train(
        self,
        spec: RunSpec,
        epochs: int,
        *measures: Measure,
        stop: StopRequest | None = None,
        **options: Any,
    ) -> Path:
        """Run a job, and return the folder of the version that has what was requested."""
        job = self.job(spec, epochs, *measures, **options)
        job.run(StopRequest() if stop is None else stop)
        found = job.found(job.wanted)
        assert found is not None
        return found.folder

    def measure_folder(self, spec: RunSpec, version: Path, measure: Measure) -> Path:
        """The folder of a measure of a version."""
        return version / measure_identity(measure, self.identity(spec)).label

    def rows(self, spec: RunSpec, version: Path, measure: Measure) -> np.ndarray:
        """The rows of a measure."""
        found: np.ndarray = np.load(self.measure_folder(spec, version, measure) / ROWS)
        return found

    def made_by(self, spec: RunSpec, version: Path, measure: Measure) -> str:
        """The origin of a measure: "training", "replay" or "checkpoints"."""
        provenance = read_provenance(self.measure_folder(spec, version, measure))
        return str(provenance.details["by"])


def contents(version: Path) -> dict[str, bytes]:
    """All files of a version and its measures except provenance, by their path."""
    return {
        str(path.relative_to(version)): path.read_bytes()
        for path in sorted(version.rglob("*"))
        if path.is_file() and path.name != "provenance.json"
    }


def outcome(version: Path) -> dict[str, Any]:
    """The provenance of a run's course, whatever jobs it was trained in."""
    details = read_provenance(version).details
    hidden = ("seconds", "sessions", "trained_epochs", "ranks", "workers")
    return {name: value for name, value in details.items() if name not in hidden}


def rewrite(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace files of a product, and its provenance accordingly."""
    old: Provenance = read_provenance(folder)
    identity = Identity(old.kind, old.name, old.spec, old.code, old.inputs)
    assert identity.digest == old.digest
    kept = {name: (folder / name).read_bytes() for name in old.files}
    with product_writer(folder, identity, **old.details) as aside:
        for name, content in (kept | dict(files)).items():
            (aside / name).write_bytes(content)
