"""Training images as they are."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def of_epoch(images: int, seed: int, epoch: int, black: Tensor) -> Callable[[Tensor, int], Tensor]:
    """No augmentation; arguments as for `perigee.data.augmentations.crop_and_flip.of_epoch`."""

    def leave(batch: Tensor, first: int) -> Tensor:
        return batch

    return leave
