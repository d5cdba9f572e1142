"""Augmentations."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, NotNegativeInteger, Truth
from perigee.blocks.datasets import Storage


class Augmentation(Block, kind="augmentation"):
    """A random change of training images; measures see them unchanged.

    Attributes:
        fits: how data sets must be stored for it to change their images.
    """

    fits: ClassVar[tuple[Storage, ...]] = ("arrays",)


class NoAugmentation(
    Augmentation, name="none", code="perigee.data.augmentations.none:NoAugmentation"
):
    """No augmentation; images in files are cropped or resized as for measures."""

    fits: ClassVar[tuple[Storage, ...]] = ("arrays", "files", "annotated_files")


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


class ResizedCropAndFlip(
    Augmentation,
    name="resized_crop_and_flip",
    code="perigee.data.augmentations.resized_crop_and_flip:ResizedCropAndFlip",
):
    """Random parts of images, resized, and horizontal flips: the usual augmentation of ImageNet."""

    fits: ClassVar[tuple[Storage, ...]] = ("files",)


class HorizontalFlip(
    Augmentation,
    name="horizontal_flip",
    code="perigee.data.augmentations.horizontal_flip:HorizontalFlip",
):
    """Images mirrored left to right with probability 1/2, together with their objects."""

    fits: ClassVar[tuple[Storage, ...]] = ("annotated_files",)
