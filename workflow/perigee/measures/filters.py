"""The measure ``filters``: norms, gradients and rates of every scale-invariant filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from perigee.dynamics import sphere
from perigee.dynamics.groups import MEAN, QUANTITIES, ROOT_MEAN_SQUARE
from perigee.errors import PerigeeError
from perigee.measures.base import Measure, real_type

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer


class Filters(Measure):
    """A row per epoch: mean and root mean square of `QUANTITIES` over the epoch's steps.

    Each column has a number for every scale-invariant group: every filter that is scale-invariant
    by itself, then all other scale-invariant weights together, if there are any (Kodryan et al.
    2022, Section 3.1). Norms are those before a step, whose gradient is that of its mini-batch.

    Raises:
        PerigeeError: no filter of the network is scale-invariant by itself.
    """

    is_of_steps = True

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        parameters = trainer.parameters
        if not parameters.filter_names:
            raise PerigeeError(
                "Measure 'filters' is of filters that are scale-invariant by themselves, of which "
                "this network has none; choose a network such as convnet or leave it out."
            )
        self._filters = [len(one) for one in parameters.filters]
        ends = np.cumsum((0, *parameters.lengths)).tolist()
        self._others = [
            slice(start, end)
            for name, start, end in zip(parameters.weight_names, ends, ends[1:], strict=False)
            if name not in parameters.filter_names
        ]
        groups = sum(self._filters) + bool(self._others)
        columns = [f"{name}_{kind}" for kind in (MEAN, ROOT_MEAN_SQUARE) for name in QUANTITIES]
        self.row = np.dtype(
            [("epoch", "<i4"), *((name, real_type(trainer), (groups,)) for name in columns)]
        )
        device = trainer.execution.device
        self.state = {
            "sums": torch.zeros((2, len(QUANTITIES), groups), dtype=torch.float64, device=device),
            "steps": torch.zeros((), dtype=torch.int64),
            "told": torch.zeros((), dtype=torch.bool),
        }
        """Sums over the epoch's steps, their number, and whether its row was returned. They are
        kept until the next step: a job that is stopped before all measures have their rows takes
        these again.
        """

    @property
    def description(self) -> dict[str, Any]:
        """The weight tensor that each group is a filter of, in order; "" of the last group."""
        names = zip(self.trainer.parameters.filter_names, self._filters, strict=True)
        of_filters = [name for name, filters in names for _ in range(filters)]
        return {"groups": [*of_filters, *([""] if self._others else [])]}

    def before_update(self) -> None:
        """Add the quantities of the coming step."""
        if self.state["told"]:
            for value in self.state.values():
                value.zero_()
        parameters = self.trainer.parameters
        norm, gradient = self._norms(parameters.values), self._norms(parameters.gradient)
        rate = self.trainer.rate
        found = torch.stack(
            (
                norm,
                gradient,
                sphere.effective_gradient_norm(gradient, norm),
                sphere.effective_learning_rate(rate, norm),
                sphere.effective_step_size(rate, gradient, norm),
            )
        )
        self.state["sums"][0].add_(found)
        self.state["sums"][1].addcmul_(found, found)
        self.state["steps"].add_(1)

    def after_epoch(self, epoch: int, last: bool) -> np.ndarray | None:
        """Return the row of the epoch's steps; None before the first."""
        steps = int(self.state["steps"])
        if not steps:
            return None
        means = (self.state["sums"] / steps).cpu().numpy()
        means[1] **= 0.5
        row = np.empty(1, self.row)
        row["epoch"] = epoch
        columns = (self.row.names or ())[1:]
        for name, numbers in zip(columns, means.reshape(len(columns), -1), strict=True):
            row[name] = numbers
        self.state["told"].fill_(True)
        return row

    def _norms(self, vector: Tensor) -> Any:
        """The norm of every group's part of a vector, (groups,), in float64."""
        parts = self.trainer.parameters.by_filter(vector)
        norms = [torch.linalg.vector_norm(part, dim=1) for part in parts]
        if self._others:
            others = [torch.linalg.vector_norm(vector[part]) for part in self._others]
            norms.append(torch.linalg.vector_norm(torch.stack(others)).reshape(1))
        return torch.cat(norms).double()
