"""More epochs continue from the final state of a shorter version of the same run."""

from __future__ import annotations

import logging
from pathlib import Path

from safetensors.torch import load_file, save_file

from perigee.errors import PerigeeError
from perigee.store.provenance import read_product
from perigee.store.runs import STATE, epochs_folder, kept_epochs, read_tables
from perigee.training.record import RunRecord
from perigee.training.trainer import Trainer

logger = logging.getLogger("perigee")


def save_state(folder: Path, trainer: Trainer) -> None:
    """Write the state that training on needs."""
    save_file(trainer.state(), folder / STATE)


def continue_longest(trainer: Trainer, run_folder: Path, epochs: int, digest: str) -> RunRecord:
    """Bring a fresh trainer to the end of the longest kept version shorter than ``epochs``.

    Args:
        trainer: at its initialisation.
        run_folder: the folder of the run's digest.
        epochs: how many are wanted in all.
        digest: of the run.

    Returns:
        The record so far, empty if there is nothing usable; a version that is damaged, has no
        state or belongs to another run is passed over, with a warning unless it was read off a
        longer one.
    """
    for kept in reversed([found for found in kept_epochs(run_folder) if found < epochs]):
        folder = epochs_folder(run_folder, kept)
        try:
            metrics, steps, provenance = read_tables(folder)
            if provenance.digest != digest:
                raise PerigeeError(f"{folder} belongs to another run ({provenance.digest}).")
            if STATE not in provenance.files:
                continue  # read off a longer version
            read_product(folder, [STATE])
        except PerigeeError as error:
            logger.warning("not continued from %s: %s", folder, error)
            continue
        trainer.restore(load_file(folder / STATE))
        logger.info("continuing after epoch %d of %s", kept, folder)
        return RunRecord.from_tables(metrics, steps, provenance.details["stopped_at_step"])
    return RunRecord()
