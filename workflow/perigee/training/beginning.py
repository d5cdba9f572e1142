"""The start of a training job, from the furthest state of its run that is available.

That state is one saved by an interrupted job, or the end of a shorter version of the run.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.store.provenance import read_product
from perigee.store.runs import (
    ROWS,
    STATE,
    Version,
    unfinished_folders,
    versions,
)
from perigee.training.recording import FINGERPRINT, Position, Recorder
from perigee.training.row_log import checksum_of
from perigee.training.saved_state import LOSSES, MEASURE, SavedState, read_states

logger = logging.getLogger("perigee")


@dataclass(frozen=True)
class Beginning:
    """A state from which training can continue.

    Attributes:
        state: the saved state.
        where: the folder that contains it.
        logs: file of each log, by name; it may have more rows than the state knows.
        continues: whether it is the end of a shorter version, whose last epoch must be measured
            again, since it is not the last any more.
    """

    state: SavedState
    where: Path
    logs: Mapping[str, Path]
    continues: bool = False

    def measures(self, wanted: Mapping[str, Identity]) -> set[str]:
        """The names of the wanted measures that have their rows from the run's start."""
        return {name for name in wanted if name in self.logs}

    def is_on(self, version: Version) -> bool:
        """Return whether a finished version's trajectory passes through this state."""
        return all(
            checksum_of(self.logs[name], self.state.logs[name]["rows"])
            == checksum_of(version.folder / f"{name}.npy", self.state.logs[name]["rows"])
            for name in FINGERPRINT
        )


def beginnings(
    run_folder: Path,
    epochs: int,
    identity: Identity,
    measures: Mapping[str, Identity],
    interrupted_jobs: list[Path] | None = None,
) -> list[Beginning]:
    """All states of a run from which training can continue, the furthest first.

    A saved state that is damaged or belongs to another run is skipped with a warning.

    Args:
        run_folder: the folder of all versions of the run.
        epochs: how many epochs are wanted in all.
        identity: the run's identity.
        measures: the wanted measures, by name.
        interrupted_jobs: the folders of interrupted jobs to consider, without finished versions;
            None considers all states.
    """
    if interrupted_jobs is not None:
        found = list(_interrupted(interrupted_jobs, epochs, identity, measures))
    else:
        folders = unfinished_folders(run_folder)
        found = [
            *_interrupted(folders, epochs, identity, measures),
            *_finished(run_folder, epochs, identity, measures),
        ]
    return sorted(found, key=lambda one: (one.state.steps, len(one.logs)), reverse=True)


def lay_out(beginning: Beginning | None, folder: Path, names: Iterable[str]) -> None:
    """Copy a beginning's logs to where a recorder will open them.

    Args:
        beginning: one of `beginnings`; None removes what is there.
        folder: the folder of the recorder's logs.
        names: the names of the logs.
    """
    for name in names:
        target = folder / f"{name}.npy"
        source = beginning.logs[name] if beginning else None
        if source == target:
            continue
        target.unlink(missing_ok=True)
        if source is not None:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def begin(recorder: Recorder, beginning: Beginning | None) -> SavedState | None:
    """Bring a fresh trainer and its recorder to a beginning.

    Where several processes share the run, the first one reads the state and sends it to the others.

    Args:
        recorder: the trainer's recorder, with the logs that `lay_out` put there.
        beginning: one of `beginnings`; None starts the run.

    Returns:
        The state that the trainer now has; None for a fresh one.
    """
    ranks = recorder.trainer.ranks
    told = ranks.of_main(
        lambda: None if beginning is None else (beginning.state, beginning.continues)
    )
    if told is None:
        recorder.begin(dict.fromkeys(recorder.logs, 0), Position(), np.empty(0), again=False)
        return None
    state, continues = told
    tensors = dict(state.tensors)
    recorder.trainer.restore(tensors)
    for name, measure in recorder.measures.items():
        for part, value in measure.state.items():
            key = f"{MEASURE}{name}.{part}"
            if key in tensors:  # not at the end of a shorter version, which is that of an epoch
                value.copy_(tensors[key])
    losses = tensors[LOSSES].numpy() if LOSSES in tensors else np.empty(0)
    rows = {name: state.logs[name]["rows"] for name in recorder.logs}
    recorder.begin(rows, replace(state.position), losses, continues)
    position = state.position
    if beginning is not None:
        taken = f" and {position.taken} steps" if position.taken else ""
        logger.info("continuing after epoch %d%s of %s", position.epoch, taken, beginning.where)
    return state


def _interrupted(
    folders: list[Path], epochs: int, identity: Identity, measures: Mapping[str, Identity]
) -> Iterator[Beginning]:
    """The latest usable state of every interrupted job, of this length or another."""
    for folder in folders:
        for state in read_states(folder, identity.digest):
            position = state.position
            if position.epoch > epochs or (position.epoch == epochs and position.taken):
                continue
            wanted = {name for name in (*FINGERPRINT, *measures) if name in state.logs}
            sound = {
                name: folder / f"{name}.npy"
                for name in wanted
                if _is_sound(folder / f"{name}.npy", state.logs[name])
            }
            if set(FINGERPRINT) <= set(sound):
                yield Beginning(state, folder, sound)
                break
            logger.warning("saved state in %s is not used: its logs are damaged", folder)


def _is_sound(path: Path, told: Mapping[str, int]) -> bool:
    """Return whether a log begins with the rows that a state knows."""
    try:
        return checksum_of(path, told["rows"]) == told["checksum"]
    except (OSError, ValueError):
        return False


def _finished(
    run_folder: Path, epochs: int, identity: Identity, measures: Mapping[str, Identity]
) -> Iterator[Beginning]:
    """The ends of shorter versions."""
    for version in versions(run_folder):
        if version.epochs >= epochs:
            continue
        try:
            yield _end_of(version, identity, measures)
        except PerigeeError as error:
            logger.warning("not continued from %s: %s", version.folder, error)


def _end_of(version: Version, identity: Identity, measures: Mapping[str, Identity]) -> Beginning:
    provenance = read_product(version.folder, [STATE, *(f"{name}.npy" for name in FINGERPRINT)])
    if provenance.digest != identity.digest:
        raise PerigeeError(f"it belongs to another run ({provenance.digest}).")
    folders = {name: version.folder / measure.label for name, measure in measures.items()}
    kept = {name: folder for name, folder in folders.items() if (folder / ROWS).is_file()}
    for folder in kept.values():
        read_product(folder, [ROWS])
    logs = {
        **{name: version.folder / f"{name}.npy" for name in FINGERPRINT},
        **{name: folder / ROWS for name, folder in kept.items()},
    }
    details = provenance.details
    stopped = details["stopped_at_step"]
    position = Position(
        epoch=details["trained_to"],
        measured=True,
        steps=details["steps"],
        stopped_at_step=stopped,
    )
    rows = {name: {"rows": len(np.load(path, mmap_mode="r"))} for name, path in logs.items()}
    tensors = load_file(version.folder / STATE)
    state = SavedState(identity.digest, tensors, position, rows, 0.0, (), version.epochs)
    return Beginning(state, version.folder, logs, continues=True)
