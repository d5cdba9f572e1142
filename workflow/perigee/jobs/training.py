"""A training job: begin where an earlier one stopped, train, measure, write."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file

from perigee import registry
from perigee.analysis.inputs import read_metrics
from perigee.blocks.measures import Checkpoints, Measure
from perigee.checkpoints import KeptCheckpoints
from perigee.data.saving import AnyDataset, load_dataset
from perigee.errors import PerigeeError
from perigee.identity.products import Identity, measure_identity, run_identity
from perigee.interruption import StopRequest
from perigee.jobs.following import DepartureError, Follower
from perigee.jobs.watching import RunWatch
from perigee.measures.base import Measure as LiveMeasure
from perigee.models.proof import prove_declaration
from perigee.progress import RunProgress
from perigee.spec import RunSpec
from perigee.store.provenance import (
    folder_digest,
    hardware,
    is_intact,
    read_product,
    versions,
)
from perigee.store.runs import (
    ROWS,
    RUN_FILES,
    STATE,
    Version,
    find_version,
    unfinished_folder,
    version_name,
)
from perigee.store.runs import versions as complete_versions
from perigee.store.writing import link_or_copy, product_writer
from perigee.training.beginning import Beginning, begin, beginnings, lay_out
from perigee.training.execution import Execution, prepare
from perigee.training.loop import train
from perigee.training.ranks import Ranks
from perigee.training.recording import FINGERPRINT, Recorder
from perigee.training.trainer import Start, Trainer

logger = logging.getLogger("perigee")


@dataclass(frozen=True)
class TrainingJob:
    """A run that is to be trained or measured, and where.

    Attributes:
        identity: of the run.
        spec: of the run.
        epochs: in all.
        measures: that are wanted of it.
        dataset: folder of the data set, which has been verified.
        out: folder of the version, .../e<epochs>.
        device: see `perigee.training.execution.prepare`.
        progress_interval: seconds between progress lines.
        save_interval: seconds between saves of the state.
        parent: folder of all versions of the run that this one forks from, if it does.
        new_trajectory: whether a finished run that cannot be followed is trained anew, beside the
            old one, instead of being an error.
        workers, prefetch: how images are read that stay files, see
            `perigee.tasks.streaming.StreamedSplit`.
    """

    identity: Identity
    spec: RunSpec
    epochs: int
    measures: tuple[Measure, ...]
    dataset: Path
    out: Path
    device: str
    progress_interval: float
    save_interval: float
    parent: Path | None = None
    new_trajectory: bool = False
    workers: int = 0
    prefetch: int = 2

    @property
    def run_folder(self) -> Path:
        """Shared by all versions of the run: it is locked, and states are saved in it."""
        in_store = folder_digest(self.out.parent) is not None
        return self.out.parent if in_store else self.out

    @cached_property
    def wanted(self) -> dict[str, Identity]:
        """The identities of the measures by name."""
        return {m.name: measure_identity(m, self.identity) for m in self.measures}

    def is_done(self) -> bool:
        """Whether the run is there with all measures."""
        found = self.version(list(self.wanted.values()))
        if found is not None:
            logger.info("%s has all that is wanted: nothing to train", found.folder)
        return found is not None

    def version(self, measures: Sequence[Identity] = ()) -> Version | None:
        """The finished version that has all epochs, and some measures; None if there is none."""
        if self.run_folder != self.out:
            return find_version(self.run_folder, self.epochs, measures)
        # A folder that was named by hand may hold anything.
        if not is_intact(self.out, self.identity.digest, RUN_FILES[:-1]):
            return None
        found = Version(self.out, self.epochs, 1)
        same_length = found.provenance.details["epochs"] == self.epochs
        whole = all(found.measure(measure, self.epochs) for measure in measures)
        return found if same_length and whole else None

    def run(self, stop: StopRequest) -> None:
        """Train, measure, and write the files.

        A finished run of which measures are missing is measured at its checkpoints where that
        suffices, or else trained again, following its fingerprint.

        Args:
            stop: is looked at after every step.

        Raises:
            StoppedBySignalError: told to stop; the state is saved.
            DepartureError: a finished run could not be followed.
            PerigeeError: the device or the model cannot be had.
            OSError: a file cannot be written.
        """
        work = _Work(self, stop)
        try:
            work.complete()
        except DepartureError as error:
            if not self.new_trajectory:
                raise
            logger.warning("%s The run is trained anew, beside it.", error)
            work.train_anew()
        finally:
            work.ranks.close()


@dataclass(frozen=True)
class _Task:
    """A piece of work.

    Attributes:
        version: name of the version that it makes or measures.
        measures: names of those to be taken.
        followed: a finished version of the same run whose fingerprint has to come out, if any.
        at_checkpoints: whether the measures are computed at kept checkpoints.
    """

    version: str
    measures: tuple[str, ...]
    followed: Version | None = None
    at_checkpoints: bool = False


class _Work:
    """The work of one job, shared by several processes where there are ranks.

    The first of them looks into the store and decides; all do what it decided.
    """

    def __init__(self, job: TrainingJob, stop: StopRequest) -> None:
        self.job, self.stop = job, stop
        self.data: AnyDataset = load_dataset(job.dataset)
        self.execution: Execution = prepare(
            job.device, job.spec.precision, self.data.image_shape, job.workers, job.prefetch
        )
        self.ranks = Ranks.of_environment(self.execution.device)
        self.fork_epoch, self.start = self._fork()

    def complete(self) -> None:
        """Make what is missing of the run and of its measures."""
        while (
            task := self.ranks.of_main(self._next() if self.ranks.is_main else None)
        ) is not None:
            if task.at_checkpoints:
                self._measure_checkpoints(task)
            else:
                self._train(task, self._furthest(task.measures))

    def train_anew(self) -> None:
        """Train a further trajectory of the run, with all measures."""
        job = self.job
        lengths = [v for v in complete_versions(job.run_folder) if v.epochs == job.epochs]
        name = version_name(job.epochs, 1 + max((v.trajectory for v in lengths), default=0))
        folders = [unfinished_folder(job.run_folder, name)]
        task = _Task(name, tuple(job.wanted))
        self._train(task, self._furthest(task.measures, interrupted_jobs=folders))

    def _next(self) -> _Task | None:
        """What is to be done next; None if the run is there with all measures."""
        job, every = self.job, tuple(self.job.wanted)
        if job.version(list(job.wanted.values())) is not None:
            return None
        finished = job.version()
        if finished is None:
            # Measures that were not taken from that run's start are left for later.
            furthest = self._furthest()
            measures = every if furthest is None else furthest.measures(job.wanted)
            return _Task(job.out.name, tuple(sorted(measures)))
        if finished.epochs != job.epochs:
            return _Task(job.out.name, every, followed=finished)
        missing = {
            measure.name: measure
            for measure in job.measures
            if finished.measure(job.wanted[measure.name], job.epochs) is None
        }
        at_epochs = tuple(name for name, measure in missing.items() if measure.at_epochs)
        if at_epochs and self._checkpoints(finished) is not None:
            return _Task(finished.folder.name, at_epochs, finished, at_checkpoints=True)
        return _Task(finished.folder.name, tuple(missing), followed=finished)

    def _checkpoints(self, version: Version) -> Path | None:
        """The folder of the checkpoints of every epoch of a version; None if it has not all."""
        every = measure_identity(Checkpoints(), self.job.identity)
        return version.measure(every, version.epochs)

    def _furthest(
        self, measures: Sequence[str] = (), interrupted_jobs: list[Path] | None = None
    ) -> Beginning | None:
        """The furthest state of the run to which some measures were taken.

        Args:
            measures: names.
            interrupted_jobs: folders of those that are looked at, and no finished version; None
                looks at all of the run.
        """
        if not self.ranks.is_main:
            return None
        job = self.job
        found = beginnings(job.run_folder, job.epochs, job.identity, job.wanted, interrupted_jobs)
        return next((one for one in found if set(measures) <= one.measures(job.wanted)), None)

    def _train(self, task: _Task, beginning: Beginning | None) -> None:
        """Train a version of the run, and write it and its measures."""
        job = self.job
        if task.followed is not None:
            logger.info("%s is trained again to measure %s", task.version, ", ".join(task.measures))
        folder = unfinished_folder(job.run_folder, task.version)
        trainer = self._trainer()
        if self.ranks.is_main:
            lay_out(beginning, folder, [*FINGERPRINT, *task.measures])
        recorder = Recorder(trainer, folder, self._live(trainer, task), job.epochs)
        state = begin(recorder, beginning)
        progress = RunProgress(job.identity.name, job.epochs, job.progress_interval)
        progress.begin(recorder.position)
        watch = RunWatch(
            job.identity.digest, state, folder, job.save_interval, progress, self.stop, _session()
        )
        if task.followed is not None:
            watch.follower = Follower(task.followed)
        train(trainer, recorder, watch)
        recorder.close()
        if self.ranks.is_main:
            self._write(task, recorder, watch)
            for name in {task.version, job.out.name}:
                shutil.rmtree(unfinished_folder(job.run_folder, name), ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir()  # unless there is a state of another version

    def _write(self, task: _Task, recorder: Recorder, watch: RunWatch) -> None:
        """Write the measures, and the version itself if it is not there."""
        job, position = self.job, recorder.position
        out = job.out.with_name(task.version)
        details = {
            "epochs": job.epochs,
            "seed": job.spec.seed,
            "steps_per_epoch": recorder.trainer.task.steps_per_epoch,
            "steps": position.steps,
            "trained_to": position.epoch,
            "stopped_at_step": position.stopped_at_step,
            "trained_epochs": position.epoch - watch.first_epoch,
            "seconds": round(watch.seconds, 3),
            "sessions": watch.sessions,
            "ranks": self.ranks.world,
            "workers": job.workers,
            "data_epoch": recorder.trainer.first_epoch,
            **({} if self.fork_epoch is None else {"fork_epoch": self.fork_epoch}),
        }
        self._write_measures(recorder, out, details, "training" if not task.followed else "replay")
        if task.followed is not None and task.followed.folder == out:
            return
        with product_writer(out, job.identity, **details) as product:
            for log in FINGERPRINT:
                link_or_copy(recorder.logs[log].path, product.aside / f"{log}.npy")
            save_file(recorder.trainer.state(), product.aside / STATE)

    def _write_measures(
        self, recorder: Recorder, out: Path, details: Mapping[str, Any], by: str
    ) -> None:
        for name, measure in recorder.measures.items():
            identity = self.job.wanted[name]
            described = {**details, "description": measure.description, "by": by}
            with product_writer(out / identity.label, identity, **described) as product:
                link_or_copy(recorder.logs[name].path, product.aside / ROWS)

    def _measure_checkpoints(self, task: _Task) -> None:
        """Compute measures at the kept checkpoints of a finished version."""
        version = task.followed
        assert version is not None
        folder = self._checkpoints(version)
        assert folder is not None  # `_next` looked
        read_product(folder, [ROWS])
        kept = KeptCheckpoints.of_measure(folder)
        logger.info("measuring %s at %d checkpoints", ", ".join(task.measures), len(kept.epochs))
        trainer = self._trainer()
        aside = unfinished_folder(self.job.run_folder, f"{task.version}-measuring")
        if self.ranks.is_main:
            lay_out(None, aside, [*FINGERPRINT, *task.measures])
        recorder = Recorder(trainer, aside, self._live(trainer, task), kept.epochs[-1])
        recorder.measure_checkpoints(kept, self._end_if_told)
        recorder.close()
        if self.ranks.is_main:
            details = version.provenance.details
            self._write_measures(recorder, version.folder, details, "checkpoints")
            shutil.rmtree(aside, ignore_errors=True)
            with suppress(OSError):
                aside.parent.rmdir()

    def _end_if_told(self) -> None:
        self.stop.end_if_told(self.job.identity.name)

    def _trainer(self) -> Trainer:
        trainer = Trainer(
            self.job.spec, self.data, self.execution, start=self.start, ranks=self.ranks
        )
        if self.ranks.world == 1:
            batch = next(iter(trainer.task.batches("train")))
            prove_declaration(trainer.model, batch.inputs[:8])
        return trainer

    def _live(self, trainer: Trainer, task: _Task) -> dict[str, LiveMeasure]:
        return {
            measure.name: registry.load(measure)(trainer, **measure.parameters)
            for measure in self.job.measures
            if measure.name in task.measures
        }

    def _fork(self) -> tuple[int | None, Start | None]:
        """The epoch of its parent's course at which the run starts, and the state there."""
        job, parent = self.job, self.job.spec.parent
        if parent is None:
            return None, None
        if job.parent is None:
            raise PerigeeError(f"{job.identity.name} forks from another run; give its folder.")
        identity = run_identity(parent.run, job.identity.inputs["dataset"])
        needed = {m.name: m for m in (*(read() for read in parent.at.reads), Checkpoints())}
        identities = {name: measure_identity(m, identity) for name, m in needed.items()}
        version = find_version(job.parent, parent.epochs, list(identities.values()))
        if version is None:
            raise PerigeeError(
                f"{job.parent} has no complete version of {parent.epochs} epochs with "
                f"{', '.join(needed)} of the run {identity.digest}; train that one first."
            )
        folders = {}
        for name, one in identities.items():
            folder = version.measure(one, parent.epochs)
            assert folder is not None  # `find_version` looked
            read_product(folder, [ROWS])
            folders[name] = folder
        kept = KeptCheckpoints.of_measure(folders[Checkpoints.name], parent.epochs)
        course = (
            read_metrics(folders["metrics"], parent.epochs)
            if "metrics" in folders
            else pd.DataFrame({"epoch": kept.epochs})
        )
        epoch = registry.load(parent.at)(course, **parent.at.parameters)
        logger.info("starting from epoch %d of %s", epoch, version.folder)
        of_parent = version.provenance.details["data_epoch"]
        return epoch, Start(kept.checkpoint(epoch), of_parent + epoch, parent.run)


def _session() -> dict[str, Any]:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"started": started, "hardware": hardware(), "versions": versions()}
