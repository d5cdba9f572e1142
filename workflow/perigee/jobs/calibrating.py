"""Calibration: seconds of training that show what a kind of run costs on this device.

The run is trained by the loop of every training job, with its measures, in a folder that is then
removed. Its steps are timed in stretches, at whose ends a GPU is waited for; its measures are timed
at an epoch's end.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from perigee import registry
from perigee.blocks.measures import Measure
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.interruption import StopRequest
from perigee.kernel.execution import Execution, prepare
from perigee.kernel.task import Batch
from perigee.kernel.trainer import Trainer
from perigee.spec import RunSpec
from perigee.training.loop import Watch, train
from perigee.training.recording import Recorder

if TYPE_CHECKING:
    from perigee.data.saving import AnyDataset

STRETCH_S = 0.1
"""The least seconds of a stretch, unless its epoch ends (our choice): so long that waiting for a
GPU at its end is a small part of it."""

STRETCHES = 3
"""The least number of stretches that are timed, however long they take (our choice)."""

ENDLESS = 10**9
"""The epochs of a run that is stopped after seconds."""


@dataclass(frozen=True)
class Timing:
    """The measured cost of a kind of run.

    Attributes:
        steps_per_epoch: the steps of an epoch.
        steps: how many were timed.
        seconds_per_step: the median over stretches.
        seconds_per_pass: seconds of all measures at an epoch's end.
    """

    steps_per_epoch: int
    steps: int
    seconds_per_step: float
    seconds_per_pass: float


def timed(
    spec: RunSpec,
    dataset: AnyDataset,
    measures: Sequence[Measure],
    *,
    device: str,
    workers: int,
    seconds: float,
    stop: StopRequest,
    capture: str = "auto",
    channels_last: str = "auto",
) -> Timing:
    """Train a run for some seconds, and time its steps and its measures.

    Args:
        spec: the run, which starts from its initialisation.
        dataset: the run's data set.
        measures: the run's measures.
        device, workers, capture, channels_last: see `perigee.kernel.execution.prepare`.
        seconds: how long steps are timed, after a warm-up of a stretch; and how long a pass over
            the training set may take before the rest of it is calculated.
        stop: is looked at after every step and mini-batch.

    Raises:
        StoppedBySignalError: told to stop.
        PerigeeError: the device or the model is not available, or the run diverged too soon.
    """
    execution = prepare(
        device,
        spec.precision,
        dataset.image_shape,
        workers,
        capture=capture,
        channels_last=channels_last,
    )
    trainer = Trainer(spec, dataset, execution)
    task = _ShortPasses(trainer.task, spec.batch_size, execution, seconds)
    trainer.task = task
    clock = _Clock(task, execution, seconds, stop)
    live = {one.name: registry.load(one)(trainer, **one.parameters) for one in measures}
    with (
        tempfile.TemporaryDirectory(prefix="perigee-") as folder,
        Recorder(trainer, Path(folder), live, ENDLESS) as recorder,
    ):
        # The initial measures are the warm-up of the passes, in which these are captured, too. One
        # pass may be all that is timed, so leaving out the first one would not do.
        task.is_warming_up = True
        with suppress(_EnoughError):
            train(trainer, recorder, clock)
        if len(clock.stretches) < STRETCHES:
            raise PerigeeError("it diverged before its steps could be timed.")
        if not clock.passes:
            clock.begin()
            recorder.finish_epoch()
            clock.after_epoch(recorder)
    return Timing(
        steps_per_epoch=task.steps_per_epoch,
        steps=sum(steps for steps, _ in clock.stretches),
        seconds_per_step=median(taken / steps for steps, taken in clock.stretches),
        seconds_per_pass=median(clock.passes),
    )


def now(execution: Execution) -> float:
    """The time in seconds, once the device has done all that it was given."""
    if execution.device.type == "cuda":
        torch.cuda.synchronize(execution.device)
    return time.perf_counter()


class _EnoughError(Exception):
    """Enough steps were timed."""


class _Clock(Watch):
    """The times of a run's steps, and of its measures at the ends of epochs.

    Args:
        task: the run's task.
        execution: where the run computes.
        seconds: after how many seconds there are enough steps.
        stop: is looked at after every step and mini-batch.

    Attributes:
        stretches: of each stretch its number of steps and its seconds, without the first one.
        passes: the seconds of measuring at the end of each epoch.
    """

    def __init__(
        self, task: _ShortPasses, execution: Execution, seconds: float, stop: StopRequest
    ) -> None:
        self.stretches: list[tuple[int, float]] = []
        self.passes: list[float] = []
        self._task, self._execution = task, execution
        self._seconds, self._stop = seconds, stop
        self._end: float | None = None
        self._steps, self._began = 0, 0.0

    def begin(self) -> None:
        """Begin a stretch, or a pass."""
        self._steps, self._began = 0, now(self._execution)

    def after_step(self, recorder: Recorder) -> None:
        """End the stretch if it is long enough, or its epoch is over."""
        self._end_if_told()
        self._steps += 1
        is_last = recorder.position.taken == self._task.steps_per_epoch
        if not is_last and time.perf_counter() - self._began < STRETCH_S:
            return
        ended = now(self._execution)
        if self._end is None:  # the first one was the warm-up
            self._end = ended + self._seconds
        else:
            self.stretches.append((self._steps, ended - self._began))
        if len(self.stretches) >= STRETCHES and ended >= self._end:
            raise _EnoughError
        self.begin()

    def after_epoch(self, recorder: Recorder) -> None:
        """Note the time since the epoch's last step, which measuring has taken.

        The first one, if it is the warm-up, is not noted.
        """
        if self._task.is_warming_up:
            self._task.is_warming_up = False
        else:
            skipped = self._task.take_skipped_seconds()
            self.passes.append(now(self._execution) - self._began + skipped)
        self.begin()

    def within_step(self, recorder: Recorder) -> None:
        """End the run if told to."""
        self._end_if_told()

    def while_measuring(self, recorder: Recorder) -> None:
        """End the run if told to."""
        self._end_if_told()

    def _end_if_told(self) -> None:
        if self._stop:
            raise StoppedBySignalError(
                f"The calibration was stopped by {self._stop.received_or_term.name}; what was "
                "measured before of other kinds is kept, and the next one begins with the others.",
                self._stop.received_or_term,
            )


class _ShortPasses:
    """A task whose passes over the training set are broken off; the rest of them is calculated.

    Passes over the test set are made whole, since hits of all its images are counted.

    Args:
        task: the task.
        batch_size: images in a mini-batch.
        execution: where the run computes.
        seconds: after how many seconds a pass is broken off.

    Attributes:
        is_warming_up: True while passes are to show all shapes of mini-batches, and nothing more.
    """

    def __init__(self, task: Any, batch_size: int, execution: Execution, seconds: float) -> None:
        self._task, self._batch_size = task, batch_size
        self._execution, self._seconds = execution, seconds
        self._skipped_seconds = 0.0
        self.is_warming_up = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def batches(self, split: str) -> Iterator[Batch]:
        """The mini-batches of a split in stored order, as far as time allows."""
        if self.is_warming_up:
            yield from self._few(split)
            return
        batches = math.ceil(self._task.sizes[split] / self._batch_size)
        began = 0.0
        for taken, batch in enumerate(self._task.batches(split)):
            if taken == 1:
                began = now(self._execution)
            if split == "train" and taken > 1 and time.perf_counter() - began > self._seconds:
                each = (now(self._execution) - began) / (taken - 1)
                self._skipped_seconds += (batches - taken) * each
                return
            yield batch

    def _few(self, split: str) -> Iterator[Batch]:
        """The first mini-batch, and the last one, of another size, if it is soon reached.

        Images that lie in memory are; from files, another mini-batch is read instead.
        """
        batches = self._task.batches(split)
        yield next(batches)
        began, latest = time.perf_counter(), None
        for batch in batches:
            latest = batch
            if time.perf_counter() - began > STRETCH_S:
                break
        if latest is not None:
            yield latest

    def take_skipped_seconds(self) -> float:
        """The seconds that the parts left out since the last call would have taken.

        They are calculated from the mini-batches before, without the first of each pass.
        """
        skipped, self._skipped_seconds = self._skipped_seconds, 0.0
        return skipped
