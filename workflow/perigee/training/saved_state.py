"""The saved state of a run in progress: one file from which training goes on to the same bits.

It holds weights, BatchNorm statistics, optimiser state, the record so far and the position in the
epoch. Two generations are kept; a file is written aside, forced to the disk and renamed, so a kill,
a full disk or a power cut leaves the one before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from perigee.errors import PerigeeError
from perigee.store.writing import written_atomically
from perigee.training.record import STEP_QUANTITIES, RunRecord

logger = logging.getLogger("perigee")

GENERATIONS = ("latest.safetensors", "previous.safetensors")
STEPS, EPOCH_LENGTHS, UNFINISHED = "record.steps", "record.epoch_lengths", "record.unfinished"
DESCRIPTION, CHECKSUM = "description", "sha256"


@dataclass(frozen=True)
class SavedState:
    """A run at some step.

    Attributes:
        digest: of the run, which covers its spec, code and data.
        tensors: what `perigee.training.trainer.Trainer.state` gave.
        record: up to that step.
        seconds: of wall time that training up to here has taken.
        sessions: what the processes that trained it ran on, in order.
        first_epoch: how many epochs there were when that training began.
    """

    digest: str
    tensors: Mapping[str, Tensor]
    record: RunRecord
    seconds: float
    sessions: tuple[Mapping[str, Any], ...]
    first_epoch: int

    @property
    def steps(self) -> int:
        """Steps taken."""
        unfinished = self.record.unfinished
        return self.record.steps_done + (0 if unfinished is None else len(unfinished))

    def save(self, folder: Path) -> None:
        """Write as the latest generation; the latest so far becomes the previous one.

        Raises:
            OSError: it cannot be written; both generations are then as they were.
        """
        folder.mkdir(parents=True, exist_ok=True)
        record = self.record
        rows = [*record.steps, np.empty((0, len(STEP_QUANTITIES)), self._dtype)]
        tensors = {
            **self.tensors,
            STEPS: torch.from_numpy(np.concatenate(rows)),
            EPOCH_LENGTHS: torch.tensor([len(s) for s in record.steps], dtype=torch.int64),
        }
        if record.unfinished is not None:
            tensors[UNFINISHED] = torch.from_numpy(record.unfinished)
        description = json.dumps(
            {
                "digest": self.digest,
                "metrics": record.metrics,
                "stopped_at_step": record.stopped_at_step,
                "seconds": self.seconds,
                "sessions": self.sessions,
                "first_epoch": self.first_epoch,
            }
        )
        about = {DESCRIPTION: description, CHECKSUM: _checksum(tensors, description)}
        latest, previous = (folder / name for name in GENERATIONS)
        with written_atomically(latest, keep_as=previous) as aside:
            save_file(tensors, aside, about)

    @property
    def _dtype(self) -> Any:
        return self.record.steps[0].dtype if self.record.steps else np.float32


def read_states(folder: Path, digest: str) -> Iterator[SavedState]:
    """The generations that can be used, latest first.

    A file that is damaged or belongs to another run is renamed to <name>.unusable-<time>, with a
    warning.

    Args:
        folder: that `SavedState.save` was given.
        digest: that the run has.
    """
    for name in GENERATIONS:
        path = folder / name
        if not path.is_file():
            continue
        try:
            state = _read(path)
            if state.digest != digest:
                raise PerigeeError(f"it belongs to another run ({state.digest})")
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
            # Copies: what is read must not hang on a file that the next saves replace.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        description = about[DESCRIPTION]
        if about[CHECKSUM] != _checksum(tensors, description):
            raise PerigeeError("its checksum is wrong")
        values = json.loads(description)
        lengths = tensors.pop(EPOCH_LENGTHS).tolist()
        steps = tensors.pop(STEPS).numpy()
        unfinished = tensors.pop(UNFINISHED, None)
        record = RunRecord(
            metrics=values["metrics"],
            steps=np.split(steps, np.cumsum(lengths)[:-1]) if lengths else [],
            stopped_at_step=values["stopped_at_step"],
            unfinished=None if unfinished is None else unfinished.numpy(),
        )
        return SavedState(
            digest=values["digest"],
            tensors=tensors,
            record=record,
            seconds=values["seconds"],
            sessions=tuple(values["sessions"]),
            first_epoch=values["first_epoch"],
        )
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise PerigeeError(f"it is damaged ({error})") from error


def _checksum(tensors: Mapping[str, Tensor], description: str) -> str:
    total = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        total.update(tensors[name].contiguous().numpy().tobytes())
    return total.hexdigest()
