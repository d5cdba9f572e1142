"""Augmentations."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, NotNegativeInteger, Truth


class Augmentation(Block):
    """A random change of training images; measures see them unchanged."""

    kind: ClassVar[str] = "augmentation"


class NoAugmentation(Augmentation):
    """Training images as they are."""

    name: ClassVar[str] = "none"
    code: ClassVar[str] = "perigee.data.augmentations.none:NoAugmentation"


class CropAndFlip(Augmentation):
    """Random crops of padded images, and horizontal flips.

    Attributes:
        padding: width of the border in pixels.
        flip: whether images are mirrored with probability 1/2.
    """

    name: ClassVar[str] = "crop_and_flip"
    code: ClassVar[str] = "perigee.data.augmentations.crop_and_flip:CropAndFlip"

    padding: NotNegativeInteger
    flip: Truth
