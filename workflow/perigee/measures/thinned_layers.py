"""The measure ``thinned_layers``: the numbers of ``layers``, of most layers at every n-th step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perigee.errors import PerigeeError
from perigee.measures.base import Measure, real_type
from perigee.measures.layers import Layers

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer

SUFFIX = ".weight"


class ThinnedLayers(Measure):
    """A row per layer and kept step: ``epoch``, ``step``, ``layer``, and the numbers of `Layers`.

    ``step`` counts the run's steps from 0, ``layer`` is the tensor's place among the description's
    ``layers``. Kept are the steps whose number is a multiple of ``every``, and of some layers all
    steps. The rows of an epoch come layer by layer.

    Args:
        trainer: the run.
        every: steps from one kept step to the next.
        in_full: layers of which all steps are kept, such as "layer2.0.conv2".

    Raises:
        PerigeeError: the network has no scale-invariant weights, or no such layer.
    """

    is_of_steps = True

    def __init__(self, trainer: Trainer, *, every: int, in_full: Sequence[str]) -> None:
        super().__init__(trainer)
        self._layers = Layers(trainer)
        self._every, self._in_full = every, tuple(in_full)
        known = [name.removesuffix(SUFFIX) for name in self._layers.description["layers"]]
        unknown = next((name for name in in_full if name not in known), None)
        if unknown is not None:
            raise PerigeeError(
                f"Measure 'thinned_layers' is to keep all steps of layer '{unknown}', but the "
                f"network has no such scale-invariant layer; it has {', '.join(known)}."
            )
        self._is_full = [name in in_full for name in known]
        self._names = self._layers.row.names or ()
        columns = [(name, real_type(trainer)) for name in self._names]
        self.row = np.dtype([("epoch", "<i4"), ("step", "<i4"), ("layer", "<i2"), *columns])
        weights = trainer.parameters.weights
        shape = trainer.task.steps_per_epoch, 1 + len(self._names) * len(known)
        self.state = {
            "rows": torch.zeros(shape, dtype=weights.dtype, device=weights.device),
            "steps": torch.zeros((), dtype=torch.int64),
            "told": torch.zeros((), dtype=torch.bool),
        }
        """The loss and the numbers of each of the epoch's steps, how many there are, and whether
        their rows were returned. They are kept until the next step: a job that is stopped before
        all measures have their rows takes these again.
        """

    @property
    def description(self) -> dict[str, Any]:
        """The names of the tensors, in order, and which steps are kept."""
        kept = {"every": self._every, "in_full": list(self._in_full)}
        return {**self._layers.description, **kept}

    def before_update(self) -> None:
        """Look at the weights and the velocity before the step."""
        if self.state["told"]:
            self.state["steps"].zero_()
            self.state["told"].zero_()
        self._layers.before_update()

    def after_update(self) -> None:
        """Note the numbers of the step; which steps are kept is known after the epoch."""
        row = self.state["rows"][int(self.state["steps"])]
        row[0] = self.trainer.loss
        row[1:] = self._layers.after_update()
        self.state["steps"].add_(1)

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray | None:
        """Return the rows of the epoch's kept steps; None before the first.

        Steps after the first one whose loss is not finite have no rows, as in every other log.
        """
        steps = int(self.state["steps"])
        if not steps:
            return None
        self.state["told"].fill_(True)
        noted = self.state["rows"][:steps].cpu().numpy()
        finite = np.isfinite(noted[:, 0])
        taken = steps if finite.all() else int(np.argmin(finite)) + 1
        numbers = noted[:taken, 1:].reshape(taken, len(self._names), -1)
        step = (epoch - 1) * self.trainer.task.steps_per_epoch + np.arange(taken)
        is_kept = step % self._every == 0
        parts = []
        for place, is_full in enumerate(self._is_full):
            kept = slice(None) if is_full else is_kept
            part = np.empty(len(step[kept]), self.row)
            part["epoch"], part["step"], part["layer"] = epoch, step[kept], place
            for number, name in enumerate(self._names):
                part[name] = numbers[kept, number, place]
            parts.append(part)
        return np.concatenate(parts)
