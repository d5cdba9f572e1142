"""Where a training job begins: at the furthest state of its run that is to be had.

That is a saved state of a job that was interrupted, or the end of a shorter version of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file, save_file

from perigee.errors import PerigeeError
from perigee.store.provenance import read_product
from perigee.store.runs import (
    STATE,
    complete_versions,
    read_tables,
    unfinished_folders,
)
from perigee.training.record import RunRecord
from perigee.training.saved_state import SavedState, read_states
from perigee.training.trainer import Trainer
from perigee.training.trajectory import TrajectoryWriter

logger = logging.getLogger("perigee")


def save_final_state(folder: Path, trainer: Trainer) -> None:
    """Write the state that training on to more epochs needs."""
    save_file(trainer.state(), folder / STATE)


def resume(
    trainer: Trainer,
    run_folder: Path,
    epochs: int,
    digest: str,
    trajectory: TrajectoryWriter | None = None,
) -> SavedState:
    """Bring a fresh trainer to the furthest state of its run within ``epochs``.

    Args:
        trainer: at its initialisation.
        run_folder: the folder of the run's digest.
        epochs: how many are wanted in all.
        digest: of the run.
        trajectory: if the run keeps one: is given the checkpoints up to there; a state without
            all of them is of no use then.

    Returns:
        The state that the trainer now has; that of a fresh run if there is nothing usable. What is
        damaged or belongs to another run is passed over with a warning.
    """
    found = [*_interrupted(run_folder, epochs, digest), *_finished(run_folder, epochs, digest)]
    for state, where in sorted(found, key=lambda item: item[0].steps, reverse=True):
        measured = len(state.record.metrics) - 1
        if trajectory is not None and not trajectory.take_over(where, measured):
            continue
        trainer.restore(dict(state.tensors))
        done = state.record.epochs
        taken = 0 if state.record.unfinished is None else len(state.record.unfinished)
        position = f"after epoch {done}" + (f" and {taken} steps" if taken else "")
        logger.info("continuing %s of %s", position, where)
        return state
    return SavedState(digest, trainer.state(), RunRecord(), 0.0, (), 0)


def _interrupted(run_folder: Path, epochs: int, digest: str) -> Iterator[tuple[SavedState, Path]]:
    """The latest usable state of every interrupted job, of this length or another."""
    for folder in unfinished_folders(run_folder):
        for state in read_states(folder, digest):
            done = state.record.epochs
            if done < epochs or (done == epochs and state.record.unfinished is None):
                yield state, folder
                break


def _finished(run_folder: Path, epochs: int, digest: str) -> Iterator[tuple[SavedState, Path]]:
    """The ends of shorter versions, but of those that were read off a longer one."""
    for kept, _, folder in complete_versions(run_folder):
        if kept >= epochs:
            continue
        try:
            metrics, steps, provenance = read_tables(folder)
            if provenance.digest != digest:
                raise PerigeeError(f"{folder} belongs to another run ({provenance.digest}).")
            if STATE not in provenance.files:
                continue
            read_product(folder, [STATE])
        except PerigeeError as error:
            logger.warning("not continued from %s: %s", folder, error)
            continue
        stopped = provenance.details["stopped_at_step"]
        record = RunRecord.from_tables(metrics, steps, stopped)
        yield SavedState(digest, load_file(folder / STATE), record, 0.0, (), kept), folder
