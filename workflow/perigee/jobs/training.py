"""A training job from beginning to end: begin where an earlier one stopped, train, write."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perigee import registry
from perigee.checkpoints import Trajectory
from perigee.data.arrays import ArrayDataset
from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.interruption import StopRequest
from perigee.jobs.watching import RunWatch
from perigee.progress import RunProgress
from perigee.spec import RunSpec
from perigee.store.datasets import DATA
from perigee.store.provenance import (
    folder_digest,
    hardware,
    is_complete,
    read_product,
    read_provenance,
    versions,
)
from perigee.store.runs import (
    read_tables,
    run_details,
    spare_folder,
    unfinished_folder,
    version_name,
    write_tables,
)
from perigee.store.spares import keep_spare, restore_spare
from perigee.store.trajectories import TRAJECTORY_FILES
from perigee.store.writing import product_writer
from perigee.training.execution import prepare
from perigee.training.resuming import resume, save_final_state
from perigee.training.trainer import Trainer, train
from perigee.training.trajectory import TrajectoryWriter

logger = logging.getLogger("perigee")


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained, and where.

    Attributes:
        identity: of the run.
        spec: of the run.
        epochs: in all.
        dataset: folder of the data set, which has been verified.
        out: folder for the run's files.
        device: see `perigee.training.execution.prepare`.
        keep_every: keep a checkpoint every so many epochs; None keeps none.
        progress_interval: seconds between progress lines.
        save_interval: seconds between saves of the state.
        parent: folder of the parent's version that the run forks from; None for a run without.
    """

    identity: Identity
    spec: RunSpec
    epochs: int
    dataset: Path
    out: Path
    device: str
    keep_every: int | None
    progress_interval: float
    save_interval: float
    parent: Path | None = None

    @property
    def version(self) -> str:
        """Name of this version of the run."""
        return version_name(self.epochs, self.keep_every)

    @property
    def run_folder(self) -> Path:
        """Shared by all versions of the run: what is locked, and where states are saved."""
        in_store = folder_digest(self.out.parent) is not None
        return self.out.parent if in_store else self.out

    def is_done(self) -> bool:
        """Whether there is nothing to train: the files are there, or can be put back."""
        files = () if self.keep_every is None else TRAJECTORY_FILES
        digest = self.identity.digest
        if is_complete(self.out, digest, files) and self._is_this_version(self.out):
            logger.info("%s is there: nothing to train", self.out)
            return True
        spare = spare_folder(self.run_folder, self.version)
        if is_complete(spare, digest, files) and self._is_this_version(spare):
            restore_spare(spare, self.out)
            logger.info("%s is put back from %s: nothing to train", self.out, spare)
            return True
        return False

    def _is_this_version(self, folder: Path) -> bool:
        # A folder that was named by hand may hold another version of the same run.
        details = read_provenance(folder).details
        kept = self.keep_every in (None, details.get("keep_every"))
        return kept and bool(details["epochs"] == self.epochs)

    def run(self, stop: StopRequest) -> None:
        """Train, and write the files.

        Args:
            stop: is looked at after every step.

        Raises:
            StoppedBySignalError: told to stop; the state is saved.
            PerigeeError: the device or the model cannot be had.
            OSError: a file cannot be written.
        """
        data = ArrayDataset.load(self.dataset / DATA)
        execution = prepare(self.device, self.spec.precision, data.image_shape)
        fork_epoch, start = self._fork()
        trainer = Trainer(self.spec, data, execution, start)
        unfinished = unfinished_folder(self.run_folder, self.version)
        trajectory = (
            None
            if self.keep_every is None
            else TrajectoryWriter(unfinished, trainer, self.epochs, self.keep_every)
        )
        began_with = resume(trainer, self.run_folder, self.epochs, self.identity.digest, trajectory)
        watch = RunWatch(
            trainer=trainer,
            began_with=began_with,
            folder=unfinished,
            save_interval=self.save_interval,
            progress=RunProgress(self.identity.name, self.epochs, self.progress_interval),
            stop=stop,
            trajectory=trajectory,
            session=_session(),
        )
        record = began_with.record
        train(trainer, self.epochs, record, watch)
        details = run_details(
            epochs=self.epochs,
            keep_every=self.keep_every,
            seed=self.spec.seed,
            stopped_at_step=record.stopped_at_step,
            trained_epochs=record.epochs - began_with.first_epoch,
            seconds=watch.seconds,
            sessions=watch.sessions,
            fork_epoch=fork_epoch,
        )
        with product_writer(self.out, self.identity, **details) as product:
            write_tables(product.aside, record.metrics_table(), record.steps_table())
            save_final_state(product.aside, trainer)
            if trajectory is not None:
                trajectory.finish(product.aside)
        keep_spare(self.out, spare_folder(self.run_folder, self.version))
        shutil.rmtree(unfinished, ignore_errors=True)
        with suppress(OSError):
            unfinished.parent.rmdir()  # unless there is a state of another version

    def _fork(self) -> tuple[int | None, dict[str, Any] | None]:
        """The parent's epoch that the run starts from, and the checkpoint."""
        parent = self.spec.parent
        if parent is None:
            return None, None
        if self.parent is None:
            raise PerigeeError(f"{self.identity.name} forks from another run; give its folder.")
        metrics, _, provenance = read_tables(self.parent)
        if provenance.digest != self.identity.inputs["parent"]:
            raise PerigeeError(
                f"{self.parent} holds the run {provenance.digest}, but "
                f"{self.identity.inputs['parent']} is forked from; give that one's folder."
            )
        epoch = registry.load("fork", parent.at)(metrics, **parent.at.parameters)
        read_product(self.parent, TRAJECTORY_FILES)
        logger.info("starting from epoch %d of %s", epoch, self.parent)
        return epoch, Trajectory.of_run(self.parent).checkpoint(epoch)


def _session() -> dict[str, Any]:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"started": started, "hardware": hardware(), "versions": versions()}
