"""The training loop: steps and measures in turn, until the run is done."""

from __future__ import annotations

from perigee.kernel.trainer import Moment, Trainer
from perigee.training.recording import Recorder


class Watch:
    """Callbacks during training; this base class does nothing. An exception ends the training."""

    def after_step(self, recorder: Recorder) -> None:
        """Called after every step."""

    def within_step(self, recorder: Recorder) -> None:
        """Called in the middle of a step of several mini-batches, which a resumed run repeats."""

    def while_measuring(self, recorder: Recorder) -> None:
        """Called in the middle of measuring, which a resumed run repeats."""

    def after_epoch(self, recorder: Recorder) -> None:
        """Called after the initial measures, and after every epoch with its measures."""


def train(trainer: Trainer, recorder: Recorder, watch: Watch | None = None) -> None:
    """Train until the recorder has all epochs, or the run diverges.

    Args:
        trainer: the trainer, at the recorder's position.
        recorder: the recorder, which logs everything.
        watch: the callbacks for steps and epochs.
    """
    watch = watch or Watch()
    for measure in recorder.measures.values():
        measure.pause = lambda: watch.while_measuring(recorder)
    if not recorder.position.measured:
        recorder.finish_epoch()
        watch.after_epoch(recorder)
    while not recorder.is_done:
        position = recorder.position
        for moment in trainer.epoch(position.epoch, position.taken):
            if moment is Moment.GRADIENT:
                recorder.before_update()
            elif moment is Moment.STEP:
                recorder.after_update()
                watch.after_step(recorder)
            else:
                watch.within_step(recorder)
        recorder.finish_epoch()
        watch.after_epoch(recorder)
