"""A training job: begin where an earlier one stopped, train, measure, write."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from perigee import registry
from perigee.blocks.measures import Checkpoints, Measure
from perigee.checkpoints import KeptCheckpoints
from perigee.data.saving import AnyDataset, load_dataset
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.identity.products import Identity, measure_identity, run_identity
from perigee.interruption import StopRequest
from perigee.jobs.computing import computing
from perigee.jobs.following import DepartureError, Follower
from perigee.jobs.staging import staged
from perigee.jobs.watching import RunWatch
from perigee.kernel.execution import Execution, prepare
from perigee.kernel.ranks import Ranks
from perigee.kernel.trainer import Start, Trainer
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
from perigee.training.loop import train
from perigee.training.recording import FINGERPRINT, Recorder

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
        device: see `perigee.kernel.execution.prepare`.
        progress_interval: seconds between progress lines.
        save_interval: seconds between saves of the state.
        parent: folder of all versions of the run that this one forks from, if it does.
        new_trajectory: whether a finished run that cannot be followed is trained anew, beside the
            old one, instead of being an error.
        workers: how many processes read images that stay files, see
            `perigee.tasks.streaming.StreamedSplit`.
        stage_images: the folder to which these are copied first, see `perigee.jobs.staging`; ""
            reads them where they are.
        capture, channels_last: see `perigee.kernel.execution.prepare`.
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
    stage_images: str = ""
    capture: str = "auto"
    channels_last: str = "auto"

    @property
    def run_folder(self) -> Path:
        """Shared by all versions of the run: it is locked, and states are saved in it."""
        in_store = folder_digest(self.out.parent) is not None
        return self.out.parent if in_store else self.out

    @cached_property
    def wanted(self) -> dict[str, Identity]:
        """The identities of the measures by name."""
        return {m.name: measure_identity(m, self.identity) for m in self.measures}

    def stage(self, waiting: Callable[[], None]) -> None:
        """Copy the images of the data set, where that is asked for; `data` then finds them.

        Args:
            waiting: called again and again; what it raises ends the copying.

        Raises:
            PerigeeError: the data set is damaged, or its images cannot be copied.
        """
        if self.stage_images:
            self.data(waiting)

    def data(self, waiting: Callable[[], None]) -> AnyDataset:
        """Load the data set, whose images are copied first where that is asked for.

        Args, raises: see `stage`.
        """
        loaded = load_dataset(self.dataset)
        return staged(loaded, self.stage_images, waiting) if self.stage_images else loaded

    def is_done(self) -> bool:
        """True if the store has the run with all measures."""
        found = self.found(self.wanted)
        if found is not None:
            logger.info("%s has all that is wanted: nothing to train", found.folder)
        return found is not None

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

    def found(self, measures: Mapping[str, Identity]) -> Version | None:
        """The version in the store that has all epochs and all the measures."""
        if self.run_folder == self.out:
            return self._found_by_hand(measures)
        return find_version(self.run_folder, self.epochs, list(measures.values()))

    def _found_by_hand(self, measures: Mapping[str, Identity]) -> Version | None:
        """The same of a folder that was named by hand, and may hold anything."""
        if not is_intact(self.out, self.identity.digest, RUN_FILES[:-1]):
            return None
        found = Version(self.out, self.epochs, 1)
        if found.provenance.details["epochs"] != self.epochs:
            return None
        whole = all(found.measure(one, self.epochs) for one in measures.values())
        return found if whole else None


class _Work:
    """The steps of one job."""

    def __init__(self, job: TrainingJob, stop: StopRequest) -> None:
        self.job, self.stop = job, stop
        waiting = partial(stop.end_waiting_if_told, job.identity.name, "its images")
        self.data = job.data(waiting)
        self.execution: Execution = prepare(
            job.device,
            job.spec.precision,
            self.data.image_shape,
            job.workers,
            capture=job.capture,
            channels_last=job.channels_last,
        )
        self.ranks = Ranks.of_environment(self.execution.device)
        self.fork_epoch, self.start = self._fork()

    def complete(self) -> None:
        """Make what is missing of the run and of its measures."""
        job, of_main = self.job, self.ranks.of_main
        if of_main(lambda: job.found({})) is None:
            self._train_first()
        if of_main(lambda: job.found(job.wanted)) is not None:
            return
        version, names = of_main(self._lacking)
        missing = self._measure_checkpoints(version, {name: job.wanted[name] for name in names})
        if missing:
            named = ", ".join(missing)
            logger.info("%s is trained again to measure %s", version.folder, named)
            beginning = self._furthest(missing, version) if self.ranks.is_main else None
            same_length = version.epochs == job.epochs
            name = version.folder.name if same_length else job.out.name
            self._train(name, missing, beginning, version)

    def train_anew(self) -> None:
        """Train a further trajectory of the run, with all measures."""
        job = self.job
        name = self.ranks.of_main(self._next_trajectory)
        beginning = None
        if self.ranks.is_main:
            jobs = [unfinished_folder(job.run_folder, name)]
            found = beginnings(job.run_folder, job.epochs, job.identity, job.wanted, jobs)
            beginning = next((b for b in found if b.measures(job.wanted) == set(job.wanted)), None)
        self._train(name, job.wanted, beginning, None)

    def _train_first(self) -> None:
        """Train a run that is not there, from the furthest state that there is.

        Measures that were not taken from that run's start are left for later.
        """
        job, beginning = self.job, None
        if self.ranks.is_main:
            found = beginnings(job.run_folder, job.epochs, job.identity, job.wanted)
            beginning = found[0] if found else None
        names = self.ranks.of_main(
            lambda: sorted(job.wanted if beginning is None else beginning.measures(job.wanted))
        )
        self._train(job.out.name, {name: job.wanted[name] for name in names}, beginning, None)

    def _lacking(self) -> tuple[Version, list[str]]:
        """The version to be measured, and the names of the measures that it lacks.

        Of several trajectories it is the one made last: the earlier ones could not be followed. A
        longer version is followed to make one of the wanted length, which then has all measures.
        """
        job = self.job
        exact = [v for v in complete_versions(job.run_folder) if v.epochs == job.epochs]
        if job.run_folder == job.out:
            exact = [Version(job.out, job.epochs, 1)]
        if not exact:
            longer = job.found({})
            assert longer is not None
            return longer, list(job.wanted)
        last = exact[-1]
        return last, [n for n, one in job.wanted.items() if last.measure(one, job.epochs) is None]

    def _next_trajectory(self) -> str:
        job = self.job
        lengths = [v for v in complete_versions(job.run_folder) if v.epochs == job.epochs]
        return version_name(job.epochs, 1 + max((v.trajectory for v in lengths), default=0))

    def _furthest(self, wanted: Mapping[str, Identity], followed: Version) -> Beginning | None:
        """The furthest state on a version's trajectory to which all measures were taken."""
        found = beginnings(self.job.run_folder, self.job.epochs, self.job.identity, wanted)
        return next(
            (b for b in found if b.measures(wanted) == set(wanted) and b.is_on(followed)), None
        )

    def _train(
        self,
        name: str,
        wanted: Mapping[str, Identity],
        beginning: Beginning | None,
        followed: Version | None,
    ) -> None:
        """Train a version of the run, and write it and its measures.

        Args:
            name: of the version.
            wanted: measures to be taken.
            beginning: of the training, as the first of the processes that share it knows it.
            followed: a finished version of the same run, whose fingerprint training has to follow.
        """
        job = self.job
        folder = unfinished_folder(job.run_folder, name)
        trainer = self._trainer()
        if self.ranks.is_main:
            lay_out(beginning, folder, [*FINGERPRINT, *wanted])
        with Recorder(trainer, folder, self._live(trainer, wanted), job.epochs) as recorder:
            state = begin(recorder, beginning)
            progress = RunProgress(
                job.identity.name,
                job.epochs,
                job.progress_interval,
                unfinished_folder(job.run_folder, job.out.name),  # the version that is asked for
                recorder.position,
            )
            watch = RunWatch(
                digest=job.identity.digest,
                began_with=state,
                folder=folder,
                save_interval=job.save_interval,
                progress=progress,
                stop=self.stop,
                session=_session(trainer),
            )
            if followed is not None:
                watch.follower = Follower(followed)
            train(trainer, recorder, watch)
            recorder.close()
        if self.ranks.is_main:
            self._write(name, wanted, recorder, watch, followed)
            _remove(folder)

    def _write(
        self,
        name: str,
        wanted: Mapping[str, Identity],
        recorder: Recorder,
        watch: RunWatch,
        followed: Version | None,
    ) -> None:
        """Write the measures, and the version itself if it is not there."""
        job, position = self.job, recorder.position
        out = job.out.with_name(name)
        details = {
            "epochs": job.epochs,
            "seed": job.spec.seed,
            "steps_per_epoch": recorder.trainer.task.steps_per_epoch,
            "steps": position.steps,
            "trained_to": position.epoch,
            "stopped_at_step": position.stopped_at_step,
            "trained_epochs": position.epoch - watch.first_epoch,
            "seconds": round(watch.seconds, 3),
            "sessions": watch.sessions(recorder.trainer),
            "ranks": self.ranks.world,
            "workers": job.workers,
            "data_epoch": recorder.trainer.first_epoch,
            "schedule_epoch": recorder.trainer.first_schedule_epoch,
            **({} if self.fork_epoch is None else {"fork_epoch": self.fork_epoch}),
        }
        by = "training" if followed is None else "replay"
        _write_measures(out, wanted, recorder, details, by)
        if followed is not None and followed.folder == out:
            return
        with product_writer(out, job.identity, **details) as aside:
            for log in FINGERPRINT:
                link_or_copy(recorder.logs[log].path, aside / f"{log}.npy")
            save_file(recorder.trainer.state(), aside / STATE)

    def _measure_checkpoints(
        self, version: Version, missing: Mapping[str, Identity]
    ) -> dict[str, Identity]:
        """Compute at kept checkpoints what can be computed there.

        Returns:
            The measures that are still missing.
        """
        job = self.job
        every = version.measure(measure_identity(Checkpoints(), job.identity), version.epochs)
        suited = {m.name for m in job.measures if m.at_epochs}
        now = {name: one for name, one in missing.items() if name in suited}
        if every is None or not now:
            return dict(missing)
        trainer = self._trainer()
        read_product(every, [ROWS])
        kept = KeptCheckpoints.of_measure(every)
        logger.info("measuring %s at %d checkpoints", ", ".join(now), len(kept.epochs))
        folder = unfinished_folder(job.run_folder, f"{job.out.name}-measuring")
        if self.ranks.is_main:
            lay_out(None, folder, [*FINGERPRINT, *now])
        with Recorder(trainer, folder, self._live(trainer, now), kept.epochs[-1]) as recorder:
            recorder.measure_checkpoints(kept, self._end_if_told)
            recorder.close()
        if self.ranks.is_main:
            details = version.provenance.details
            _write_measures(version.folder, now, recorder, details, "checkpoints")
            _remove(folder)
        return {name: one for name, one in missing.items() if name not in now}

    def _end_if_told(self) -> None:
        """End work that has nothing to save, on all processes at once."""
        if self.ranks.any(bool(self.stop)):
            received = self.stop.received_or_term
            raise StoppedBySignalError(
                f"{self.job.identity.name} was stopped by {received.name} while its checkpoints "
                "were measured; start it again.",
                received,
            )

    def _trainer(self) -> Trainer:
        spec = self.job.spec
        trainer = Trainer(spec, self.data, self.execution, start=self.start, ranks=self.ranks)
        shape, classes = trainer.task.image_shape, trainer.task.classes
        # Another network of the same kind: that of several processes needs all of them.
        model = registry.load(spec.model)(shape, classes, spec.seed, **spec.model.parameters)
        prove_declaration(model, shape)
        return trainer

    def _live(self, trainer: Trainer, wanted: Mapping[str, Identity]) -> dict[str, LiveMeasure]:
        return {
            measure.name: registry.load(measure)(trainer, **measure.parameters)
            for measure in self.job.measures
            if measure.name in wanted
        }

    def _fork(self) -> tuple[int | None, Start | None]:
        """The epoch of its parent's course at which the run starts, and the state there."""
        job, parent = self.job, self.job.spec.parent
        if parent is None:
            return None, None
        if job.parent is None:
            raise PerigeeError(f"{job.identity.name} forks from another run; give its folder.")
        identity = run_identity(parent.run, job.identity.inputs["dataset"])
        identities = {m.name: measure_identity(m, identity) for m in parent.at.measures}
        version = find_version(job.parent, parent.epochs, list(identities.values()))
        if version is None:
            raise PerigeeError(
                f"{job.parent} has no complete version of {parent.epochs} epochs with "
                f"{', '.join(identities)} of the run {identity.digest}; train that one first."
            )
        folders = version.verified(identities, parent.epochs)
        # Only forks need pandas, whose import would take a tenth of every short job.
        import pandas as pd

        from perigee.analysis.inputs import read_metrics

        kept = KeptCheckpoints.of_measure(folders[Checkpoints.name], parent.epochs)
        course = (
            read_metrics(folders["metrics"], parent.epochs)
            if "metrics" in folders
            else pd.DataFrame({"epoch": kept.epochs})
        )
        epoch = registry.load(parent.at)(course, **parent.at.parameters)
        logger.info("starting from epoch %d of %s", epoch, version.folder)
        began = version.provenance.details
        return epoch, Start(
            state=kept.checkpoint(epoch),
            epoch=began["data_epoch"] + epoch,
            schedule_epoch=began["schedule_epoch"] + epoch,
            spec=parent.run,
        )


def _write_measures(
    out: Path,
    wanted: Mapping[str, Identity],
    recorder: Recorder,
    details: Mapping[str, Any],
    by: str,
) -> None:
    """Write the rows of measures, and by what they were taken, below the folder of a version."""
    for name, identity in wanted.items():
        described = {**details, "description": recorder.measures[name].description, "by": by}
        with product_writer(out / identity.label, identity, **described) as aside:
            link_or_copy(recorder.logs[name].path, aside / ROWS)


def _remove(folder: Path) -> None:
    """Remove the folder of an unfinished job that is over."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # unless there is a state of another version


def _session(trainer: Trainer) -> dict[str, Any]:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "hardware": hardware(),
        "versions": versions(),
        "computing": computing(trainer),
    }
