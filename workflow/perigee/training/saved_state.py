"""The saved state of a run in progress: one file from which training resumes to the same bits.

It holds weights, BatchNorm statistics, the states of optimiser, constraint and measures, the
position, and the lengths of the logs. Two generations are kept: a file is written under another
name, forced to the disk and renamed, so a kill, a full disk or a power cut leaves the previous one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import Tensor

from perigee.errors import PerigeeError
from perigee.store.writing import written_atomically
from perigee.training.recording import Position

logger = logging.getLogger("perigee")

GENERATIONS = ("latest.safetensors", "previous.safetensors")
MEASURE, LOSSES = "measure.", "losses"
"""Prefixes and names of tensors in addition to those of `Trainer.state`."""
DESCRIPTION, CHECKSUM = "description", "sha256"


@dataclass(frozen=True)
class SavedState:
    """The state of a run at some step.

    Attributes:
        digest: the run's digest, which covers its spec, code and data.
        tensors: the trainer's state; ``losses``, the losses of the epoch in progress; and
            ``measure.<name>.<tensor>`` for measures with a state.
        position: the run's position.
        logs: the number of rows of each log, and their checksum.
        seconds: wall time that training up to here has taken.
        sessions: hardware and versions of the processes that trained it, in order.
        first_epoch: how many epochs there were when that training began.
    """

    digest: str
    tensors: Mapping[str, Tensor]
    position: Position
    logs: Mapping[str, Mapping[str, int]]
    seconds: float
    sessions: tuple[Mapping[str, Any], ...]
    first_epoch: int

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return self.position.steps + self.position.taken

    def save(self, folder: Path) -> None:
        """Write the state; the one that was the latest becomes the previous one.

        Raises:
            OSError: it cannot be written; both generations are then unchanged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        values = {key: value for key, value in vars(self).items() if key != "tensors"}
        description = json.dumps({**values, "position": asdict(self.position)})
        tensors = dict(self.tensors)
        about = {DESCRIPTION: description, CHECKSUM: _checksum(tensors, description)}
        latest, previous = (folder / name for name in GENERATIONS)
        with written_atomically(latest, keep_as=previous) as aside:
            save_file(tensors, aside, about)


def read_states(folder: Path, digest: str) -> Iterator[SavedState]:
    """Read the usable generations, latest first.

    A file that is damaged or belongs to another run is renamed to <name>.unusable-<time>, with a
    warning.

    Args:
        folder: the folder that `SavedState.save` was given.
        digest: the run's digest.
    """
    for name in GENERATIONS:
        path = folder / name
        if not path.is_file():
            continue
        try:
            state = _read(path)
            if state.digest != digest:
                raise PerigeeError(f"it belongs to another run ({state.digest})")
        except PermissionError as error:
            raise PerigeeError(
                f"Saved state {path} may not be read by this user ({error.strerror}); ask its "
                "owner for the right to (chmod a+r)."
            ) from error
        except (PerigeeError, OSError) as error:
            aside = path.with_name(f"{name}.unusable-{time.time_ns()}")
            path.rename(aside)
            logger.warning("saved state %s is not used: %s; renamed to %s", path, error, aside.name)
        else:
            yield state


def _read(path: Path) -> SavedState:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            # Copies: what is read must not depend on a file that the next saves replace.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        description = about[DESCRIPTION]
        if about[CHECKSUM] != _checksum(tensors, description):
            raise PerigeeError("its checksum is wrong")
        values = json.loads(description)
        return SavedState(
            tensors=tensors,
            **{
                **values,
                "position": Position(**values["position"]),
                "sessions": tuple(values["sessions"]),
            },
        )
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PerigeeError(f"it is damaged ({error})") from error


def _checksum(tensors: Mapping[str, Tensor], description: str) -> str:
    total = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        total.update(tensors[name].numpy().tobytes())
    return total.hexdigest()
