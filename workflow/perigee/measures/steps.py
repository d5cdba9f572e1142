"""The measure ``steps``: loss, norms and cosine distance of every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perigee.dynamics import sphere
from perigee.measures.base import Measure, real_type

if TYPE_CHECKING:
    from perigee.kernel.trainer import Trainer

COLUMNS = ("loss", "gradient_norm", "weight_norm", "cosine_distance")
"""The columns of step t, at the weights x_t before it; the cosine distance is of x_t and x_{t+1}.

Loss and gradient are those of the images that the step uses: a mini-batch, or all of them.
"""


class Steps(Measure):
    """A row per step: `COLUMNS`, for the scale-invariant weights together."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        self.row = np.dtype([(name, real_type(trainer)) for name in COLUMNS])

    def before_update(self) -> None:
        """Keep the weights before the step."""
        self._before = self.trainer.parameters.weights.clone()

    def after_update(self) -> Tensor:
        """Return the numbers of the step's row."""
        parameters, before = self.trainer.parameters, self._before
        return torch.stack(
            (
                self.trainer.loss,
                torch.linalg.vector_norm(parameters.weights_gradient),
                torch.linalg.vector_norm(before),
                sphere.cosine_distance(before, parameters.weights),
            )
        )
