"""No augmentation."""

from __future__ import annotations

from torch import Tensor


class NoAugmentation:
    """No change; see `perigee.data.augmentations.crop_and_flip.CropAndFlip` for the arguments."""

    def __init__(self, images: int, seed: int, black: Tensor) -> None:
        pass

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def __call__(self, batch: Tensor, images: Tensor) -> Tensor:
        """Return the mini-batch itself."""
        return batch
