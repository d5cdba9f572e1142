"""The measure ``layers``: norms and angular update of scale-invariant tensors in every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from perigee.dynamics.layers import Layers as LayerQuantities
from perigee.errors import PerigeeError
from perigee.measures.base import Measure, real_type

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer

QUANTITIES = ("norm", "gradient_norm", "angular_update")
WITH_VELOCITY = (*QUANTITIES, "velocity_gradient")
VELOCITY = "velocity"


class Layers(Measure):
    """A row per step: each quantity has a number for every scale-invariant weight tensor.

    ``norm`` and ``gradient_norm`` are those before the step; ``angular_update`` is the angle
    between the weights before and after it in radians (Wan et al. 2021, Section 3);
    ``velocity_gradient``, only with momentum, is the inner product of the velocity before the step
    and the gradient (Theorem 2).

    Raises:
        PerigeeError: the network has no scale-invariant weights.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        parameters = trainer.parameters
        self._names = parameters.weight_names
        if not self._names:
            raise PerigeeError(
                "Measure 'layers' is of scale-invariant weights, of which this network has none; "
                "leave it out."
            )
        lengths = parameters.lengths[: len(self._names)]
        self._quantities = LayerQuantities(lengths, trainer.execution.device)
        self._has_velocity = VELOCITY in trainer.optimiser.state
        names = WITH_VELOCITY if self._has_velocity else QUANTITIES
        self.row = np.dtype([(name, real_type(trainer), (len(lengths),)) for name in names])

    @property
    def description(self) -> dict[str, Any]:
        """The names of the tensors, in order."""
        return {"layers": list(self._names)}

    def before_update(self) -> None:
        """Keep the weights and the velocity before the step."""
        weights = self.trainer.parameters.weights
        self._before = weights.clone()
        self._velocity = (
            self.trainer.optimiser.state[VELOCITY][: len(weights)].clone()
            if self._has_velocity
            else None
        )

    def after_update(self) -> Tensor:
        """Return the numbers of the step's row."""
        parameters = self.trainer.parameters
        found = self._quantities.quantities(
            self._before, parameters.weights, parameters.weights_gradient, self._velocity
        )
        return found.T.to(parameters.weights.dtype).reshape(-1)
