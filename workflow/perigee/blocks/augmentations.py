"""Augmentations."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, NotNegativeInteger, Truth
from perigee.blocks.datasets import Storage


class Augmentation(Block):
    """A random change of training images; measures see them unchanged.

    Attributes:
        fits: how the data sets lie on the disk whose images it can change.
    """

    kind: ClassVar[str] = "augmentation"
    fits: ClassVar[tuple[Storage, ...]] = ("arrays",)


class NoAugmentation(Augmentation):
    """Training images as they are; of files the centre, as for measures."""

    name: ClassVar[str] = "none"
    code: ClassVar[str] = "perigee.data.augmentations.none:NoAugmentation"
    fits: ClassVar[tuple[Storage, ...]] = ("arrays", "files")


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


class ResizedCropAndFlip(Augmentation):
    """Random parts of images, resized, and horizontal flips: the usual augmentation of ImageNet."""

    name: ClassVar[str] = "resized_crop_and_flip"
    code: ClassVar[str] = "perigee.data.augmentations.resized_crop_and_flip:ResizedCropAndFlip"
    fits: ClassVar[tuple[Storage, ...]] = ("files",)
