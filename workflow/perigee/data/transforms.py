"""Transforms of a decoded image of any size into the square one that a network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perigee.errors import PerigeeError


class Transform(Protocol):
    """A picklable map from a decoded image to the square one that a network sees."""

    @property
    def resolution(self) -> int:
        """The height and width of the result, in pixels."""

    def __call__(self, image: Image.Image, image_number: int) -> Tensor:
        """Transform one image.

        Args:
            image: RGB, of any size.
            image_number: the image's number in the split. The result may depend on it, on the
                image and on the transform's own attributes, and on nothing else.

        Returns:
            uint8, (3, resolution, resolution).
        """


@dataclass(frozen=True)
class CentreCrop:
    """The usual transform for evaluation: resize, then crop the centre; nothing is random.

    Sizes and offsets are rounded as by torchvision's ``Resize`` and ``CenterCrop``; resizing is
    Pillow's bilinear one, which averages over all pixels when it makes an image smaller.

    Attributes:
        resolution: height and width of the crop in pixels.
        resize: length of the shorter side before cropping, in pixels.

    Raises:
        PerigeeError: the crop would be larger than the resized image.
    """

    resolution: int
    resize: int

    def __post_init__(self) -> None:
        if self.resize < self.resolution:
            raise PerigeeError(
                f"'resize' is {self.resize}, less than 'resolution', {self.resolution}; a crop "
                "cannot be larger than the image: raise the one or lower the other."
            )

    def __call__(self, image: Image.Image, image_number: int) -> Tensor:
        """Transform one image, see `Transform`."""
        shorter = min(image.size)
        # The shorter side is exact: resize * shorter is divided by shorter.
        width, height = (self.resize * side // shorter for side in image.size)
        left, top = (round((side - self.resolution) / 2) for side in (width, height))
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        return pixels(resized.crop((left, top, left + self.resolution, top + self.resolution)))


def pixels(image: Image.Image) -> Tensor:
    """The grey levels of an RGB image: uint8, (3, height, width)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
