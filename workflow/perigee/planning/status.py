"""The state of every run that some figures need, from files and from the cluster's queue."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from perigee.errors import PerigeeError
from perigee.failures import Failure, noted_failure
from perigee.planning.costs import Record, Source
from perigee.planning.forecast import trainings
from perigee.planning.layout import Layout
from perigee.planning.products import Product, RunProduct
from perigee.planning.shapes import shape_of
from perigee.slurm import RUNNING, Job
from perigee.store.locks import held_since, holder, locked_if_free
from perigee.store.progress import Progress, duration, read_progress
from perigee.store.runs import unfinished_folder


class State(StrEnum):
    """The state of a run, in the order in which a user wants to see it."""

    FAILED = "failed"
    """The run's program ended with an error, and no job works on it."""
    TRAINING = "training"
    INTERRUPTED = "interrupted"
    """The run was begun, and no job works on it; it resumes when started again."""
    QUEUED = "queued"
    """A job for the run waits in the cluster's queue, or for its turn in a group of jobs."""
    WAITING = "waiting"
    """No job for the run is running or queued."""
    DONE = "done"
    """The store has the run with all its measures."""


@dataclass(frozen=True)
class RunStatus:
    """The status of one run.

    Attributes:
        version: "<name>-<digest>/e<epochs>".
        state: its state.
        detail: a few words more; "" if there is nothing to add.
        log: path of its log where something has gone wrong.
        epoch: the epoch of its latest progress.
        seconds_left: seconds of training left by its own estimate; None if it has none.
        seconds_per_epoch: seconds per epoch by its own estimate; None if it has none.
    """

    version: str
    state: State
    detail: str = ""
    log: str | None = None
    epoch: int | None = None
    seconds_left: float | None = None
    seconds_per_epoch: float | None = None


def statuses(layout: Layout, figures: Iterable[str], jobs: Sequence[Job] = ()) -> list[RunStatus]:
    """The status of all runs that figures need, including shorter versions and parents.

    Args:
        layout: the plan's layout, newly made, since it depends on the store's contents.
        figures: keys of planned figures.
        jobs: the jobs in the cluster's queue.

    Returns:
        Each run once, in the order of `State`, then in that of the plan.
    """
    found = [_Look(layout, version, jobs).status() for version in _needed(layout, figures)]
    order = list(State)
    return sorted(found, key=lambda status: order.index(status.state))


def time_left(
    layout: Layout, found: Iterable[RunStatus], records: Sequence[Record]
) -> tuple[float, int]:
    """The seconds of one device that training still takes, and for how many runs it is unknown.

    Args:
        layout: the plan's layout.
        found: the status of its runs.
        records: the records of finished runs and of calibrations; with the running ones they give
            the others' cost.
    """
    to_train = [status for status in found if status.state is not State.DONE]
    known = [status.seconds_left for status in to_train if status.seconds_left is not None]
    silent = [status for status in to_train if status.seconds_left is None]
    at_work = [
        Record(shape_of(layout.run(status.version).spec.to_dict()), status.seconds_per_epoch, 0, "")
        for status in to_train
        if status.seconds_per_epoch is not None
    ]
    runs = [layout.run(status.version) for status in silent]
    forecast = trainings(layout, runs, [*records, *at_work])
    unknown = 0
    for status, run in zip(silent, runs, strict=True):
        training = forecast.get(run.folder)
        if training is None:
            continue  # done meanwhile, or measured without training
        # A guess from another device says nothing of this one, which is at work.
        if training.cost.seconds is None or training.cost.source is Source.GUESS:
            unknown += 1
            continue
        epochs = min(training.epochs, run.epochs - (status.epoch or 0))
        known.append(training.cost.seconds * epochs / training.epochs)
    return math.fsum(known), unknown


def _needed(layout: Layout, figures: Iterable[str]) -> list[str]:
    """The versions of the figures' runs, and of the runs that are still to be made for them."""
    wanted = layout.plan.of_figures(figures)
    waiting = layout.outstanding(wanted.figures.values()).values()
    runs = [*wanted.runs.values(), *(one for one in waiting if isinstance(one, RunProduct))]
    return list(dict.fromkeys(run.name for run in runs))


class _Look:
    """The look-up of one run's status."""

    def __init__(self, layout: Layout, version: str, jobs: Sequence[Job]) -> None:
        self._layout = layout
        self._version = version
        self._run = layout.run(version)
        self._store = Path(layout.store)
        self._run_folder = self._store / self._run.identity.folder
        self._unfinished = unfinished_folder(self._run_folder, Path(version).name)
        self._log = layout.run_log(version)
        self._job = next((job for job in jobs if job.makes(version)), None)

    def status(self) -> RunStatus:
        if self._is_done():
            return RunStatus(self._version, State.DONE)
        failure = noted_failure(Path(self._log))
        progress = read_progress(self._unfinished)
        free = self._is_free()
        if self._is_done():  # by now: what was read before may be from a job that has ended
            return RunStatus(self._version, State.DONE)
        if progress is not None and self._is_at_work(progress, failure, free):
            return self._training(progress)
        if self._job is not None:
            return self._submitted(self._job, progress)
        if failure is not None and not failure.was_stopped:
            reason = failure.reason or "it could not say why"
            return self._of(State.FAILED, reason, progress, self._log)
        if progress is not None or self._has_saved():
            return self._of(State.INTERRUPTED, self._interrupted(progress), progress)
        return RunStatus(self._version, State.WAITING, self._waits_for(free))

    def _of(
        self, state: State, detail: str, progress: Progress | None, log: str | None = None
    ) -> RunStatus:
        epoch = progress.epoch if progress else None
        return RunStatus(self._version, state, detail, log, epoch)

    def _is_done(self) -> bool:
        return self._run.is_complete(self._store)

    def _is_free(self) -> bool:
        """Return whether no process works on the run, as far as this machine can see."""
        try:
            with locked_if_free(self._run_folder) as free:
                return free
        except OSError:
            return True  # a store that may only be read

    def _is_at_work(self, progress: Progress, failure: Failure | None, free: bool) -> bool:
        """Return whether the process that wrote the run's progress is still running.

        The lock is shared by all versions of the run: the process that wrote after it was taken
        holds it. If a file system shows locks only to the machine that took them, a free lock
        proves nothing about other machines; there a recent write counts.
        """
        since = held_since(self._run_folder)
        if not free:
            return since is not None and progress.written >= since
        if progress.machine == platform.node():
            return False
        ended = since is None or (failure is not None and failure.moment >= progress.written)
        return not ended and not progress.is_overdue

    def _training(self, progress: Progress) -> RunStatus:
        age = max(0.0, time.time() - progress.written)
        parts = [f"epoch {progress.epoch or 0}/{progress.epochs}"]
        if progress.train_loss is not None:
            parts.append(f"train loss {progress.train_loss:.3g}")
        if progress.steps_per_second is not None:
            parts.append(f"{progress.steps_per_second:.3g} steps/s")
        left = seconds_per_epoch = None
        if progress.seconds_left is not None:
            left = max(0.0, progress.seconds_left - age)
            parts.append(f"{duration(left)} left")
            epochs_left = progress.epochs - (progress.epoch or 0)
            seconds_per_epoch = progress.seconds_left / epochs_left if epochs_left else None
        parts.append(self._place(progress))
        if progress.is_overdue:
            parts.append(f"not heard of for {duration(age)}")
        detail = ", ".join(parts)
        return RunStatus(
            self._version,
            State.TRAINING,
            detail,
            epoch=progress.epoch,
            seconds_left=left,
            seconds_per_epoch=seconds_per_epoch,
        )

    def _place(self, progress: Progress) -> str:
        job = progress.job or (self._job.id if self._job else None)
        worker = f"process {progress.process}" if job is None else f"job {job}"
        return f"{worker} on {progress.machine}"

    def _submitted(self, job: Job, progress: Progress | None) -> RunStatus:
        if job.state != RUNNING:
            word = "" if job.state == "PENDING" else f"{job.state} "
            detail, state = f"job {job.id} {word}{job.place}".strip(), State.QUEUED
        elif job.is_group:
            detail, state = f"its turn comes in job {job.id} on {job.place}", State.QUEUED
        else:
            detail, state = f"starting, job {job.id} on {job.place}", State.TRAINING
        if progress is not None and progress.epoch:
            detail += f"; goes on from about epoch {progress.epoch} of {progress.epochs}"
        return self._of(state, detail, progress)

    def _has_saved(self) -> bool:
        return any(self._unfinished.glob("*.safetensors"))

    def _interrupted(self, progress: Progress | None) -> str:
        where = "before its first epoch"
        if progress is None:
            where = "in mid-training"
        elif progress.epoch:
            where = f"at epoch {progress.epoch} of {progress.epochs}"
        after = "goes on" if self._has_saved() else "nothing was saved, begins anew"
        return f"{where}; {after} when started again"

    def _waits_for(self, free: bool) -> str:
        missing = self._layout.outstanding([self._run])
        needed = [self._needed(one) for one in missing.values() if one.folder != self._run.folder]
        if needed:
            return f"for {', '.join(needed)}"
        if not free:
            return f"for {holder(self._run_folder)}, which holds its folder"
        if self._run.is_trained(self._store):
            return "for measures that the finished run lacks"
        return ""

    def _needed(self, product: Product) -> str:
        if product.kind != "dataset":
            return f"{product.kind} {product.name}"
        number = self._layout.receipts.number(product.folder)
        log = f"{self._layout.logs}/build_dataset/{product.name}.{number}.log"
        failure = noted_failure(Path(log))
        failed = "" if failure is None else f" (failed: {failure.reason} log: {log})"
        return f"data set {product.name}{failed}"


def figures_of(layout: Layout, targets: Sequence[str]) -> list[str]:
    """The keys of the figures that targets stand for; those of `everything` without targets.

    Of several figures those whose images are absent are left out.

    Raises:
        PerigeeError: one is not a target that stands for figures.
    """
    unknown = [name for name in targets if name not in layout.named]
    if unknown:
        known = ", ".join(layout.named)
        raise PerigeeError(f"'{unknown[0]}' is not a target with runs; known are {known}.")
    return [
        key
        for name in targets or ["everything"]
        for key in layout.named[name]
        if key == name or key not in layout.absent
    ]
