"""Following a finished run: the same losses, step by step, and the same weights, epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from perigee.errors import PerigeeError
from perigee.jobs.computing import computing
from perigee.store.provenance import hardware, read_product, versions
from perigee.store.runs import Version
from perigee.training.recording import FINGERPRINT, LOSSES, WEIGHTS, Recorder, weights_digest


class DepartureError(PerigeeError):
    """A run that is trained again leaves the course of the finished one."""


class Follower:
    """Compares a run in progress with a finished version of it.

    Args:
        version: the one whose fingerprint training has to follow.

    Raises:
        PerigeeError: the version is damaged.
    """

    def __init__(self, version: Version) -> None:
        self._version = version
        read_product(version.folder, [f"{name}.npy" for name in FINGERPRINT])
        self._losses, self._weights = (
            np.load(version.folder / f"{name}.npy", allow_pickle=False)
            for name in (LOSSES, WEIGHTS)
        )

    def after_epoch(self, recorder: Recorder) -> None:
        """Compare the epoch that was just measured.

        Raises:
            DepartureError: it differs; the message names the first step, and what else does.
        """
        position, losses = recorder.position, recorder.last_losses
        first = position.steps - len(losses)
        expected = self._losses[first : first + len(losses)]
        same = len(expected) == len(losses)
        unequal = (
            np.flatnonzero(expected.view("<i8") != losses.astype("<f8").view("<i8"))
            if same
            else np.array([min(len(expected), len(losses))])
        )
        if len(unequal):
            step = int(unequal[0])
            found = repr(float(losses[step])) if step < len(losses) else "missing"
            wanted = repr(float(expected[step])) if step < len(expected) else "missing"
            raise self._departure(
                recorder, f"at step {first + step} the loss is {found} instead of {wanted}"
            )
        row = self._weights[position.epoch]
        if row["sha256"] != weights_digest(recorder.trainer):
            raise self._departure(recorder, f"after epoch {position.epoch} the weights are others")

    def _departure(self, recorder: Recorder, where: str) -> DepartureError:
        details = self._version.provenance.details
        sessions = details["sessions"] or [{"hardware": {}, "versions": {}}]
        now: dict[str, Any] = {
            "hardware": hardware(),
            "versions": versions(),
            "computing": computing(recorder.trainer),
        }
        differing = [
            f"{name} {now[kind].get(name, 'none')} instead of {value}"
            for kind in now
            for name, value in sessions[-1].get(kind, {}).items()
            if now[kind].get(name) != value
        ]
        because = f"; other than then: {', '.join(differing)}" if differing else ""
        return DepartureError(
            f"{self._version.folder} cannot be followed: {where}{because}. Measure it where it was "
            "trained, or set 'on_departure: train_anew' in config/config.yaml to train it again."
        )
