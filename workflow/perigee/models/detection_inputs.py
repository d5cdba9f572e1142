"""The input of networks that detect objects: images with their annotated objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DetectionInputs:
    """Images of one size, or one process's part of a mini-batch of them, and their objects.

    Attributes:
        images: normalised, (images, 3, height, width); zero beyond each image's own size.
        sizes: height and width of each image in pixels.
        boxes: for each image (objects, 4), left, top, right and bottom edges in its pixels.
        categories: for each image int64, (objects,), counted from 1; 0 is the background.
        masks: for each image uint8, (objects, height, width), 1 where the object is.
        seeds: of the random choices that the network makes for each image.
    """

    images: Tensor
    sizes: Sequence[tuple[int, int]]
    boxes: Sequence[Tensor]
    categories: Sequence[Tensor]
    masks: Sequence[Tensor]
    seeds: Sequence[int]

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def of_images(cls, images: Tensor) -> DetectionInputs:
        """Images without annotations, which get one object each: of category 1, in the middle.

        The loss then depends on all of a network, as proofs of its declaration need.

        Args:
            images: (images, 3, height, width).
        """
        count, _, height, width = images.shape
        top, left = height // 4, width // 4
        mask = torch.zeros((1, height, width), dtype=torch.uint8, device=images.device)
        mask[:, top : height - top, left : width - left] = 1
        box = images.new_tensor([[left, top, width - left, height - top]])
        category = torch.ones(1, dtype=torch.int64, device=images.device)
        return cls(
            images,
            [(height, width)] * count,
            [box] * count,
            [category] * count,
            [mask] * count,
            range(count),
        )
