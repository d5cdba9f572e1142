"""Training images as they are."""

from __future__ import annotations

import numpy as np
from torch import Tensor


class NoAugmentation:
    """No change; arguments as of `perigee.data.augmentations.crop_and_flip.CropAndFlip`."""

    def __init__(self, images: int, seed: int, black: Tensor) -> None:
        pass

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def __call__(self, batch: Tensor, images: np.ndarray) -> Tensor:
        """The mini-batch itself."""
        return batch
