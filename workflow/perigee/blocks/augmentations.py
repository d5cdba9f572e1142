"""Augmentations."""

from __future__ import annotations

from perigee.blocks.base import Block, NotNegativeInteger, Truth


class Augmentation(Block, kind="augmentation"):
    """A random change of training images; measures see them unchanged."""


class NoAugmentation(
    Augmentation, name="none", code="perigee.data.augmentations.none:NoAugmentation"
):
    """Training images as they are."""


class CropAndFlip(
    Augmentation, name="crop_and_flip", code="perigee.data.augmentations.crop_and_flip:CropAndFlip"
):
    """Random crops of padded images, and horizontal flips.

    Attributes:
        padding: width of the border in pixels.
        flip: whether images are mirrored with probability 1/2.
    """

    padding: NotNegativeInteger
    flip: Truth
