"""Random parts of images, resized, and random horizontal flips."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from perigee.data.transforms import pixels

AREAS = (0.08, 1.0)
ASPECT_RATIOS = (3 / 4, 4 / 3)
TRIES = 10
"""The ranges of random crops, as torchvision's ``RandomResizedCrop`` has them by default."""

STREAM = 2
"""The key that separates these random numbers from those of `perigee.data.order` and others."""


@dataclass(frozen=True)
class ResizedCropAndFlip:
    """The usual augmentation of ImageNet: a random part of the image, resized, mirrored or not.

    The part is drawn by `random_box`, resized with Pillow's bilinear filter, and mirrored left
    to right with probability 1/2. The random numbers depend on (seed, epoch, image number) only, so
    they need no state to resume.

    Attributes:
        resolution: height and width of the result, in pixels.
        seed: the run's seed.
        epoch: counted from 0.
    """

    resolution: int
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, image_number: int) -> Tensor:
        """Transform one image, see `perigee.data.transforms.Transform`."""
        source = np.random.SeedSequence((self.seed, self.epoch, image_number), spawn_key=(STREAM,))
        draws = np.random.Generator(np.random.Philox(source))
        mirrored = draws.random() < 0.5
        # Cropped before it is resized: with `box`, `resize` would look at pixels beyond the box.
        cropped = image.crop(random_box(*image.size, draws))
        resized = cropped.resize((self.resolution, self.resolution), Image.Resampling.BILINEAR)
        if mirrored:
            resized = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return pixels(resized)


def random_box(width: int, height: int, draws: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a random part of an image, as torchvision's ``RandomResizedCrop`` documents it.

    Its area is uniform in `AREAS`, as a share of the image's; its aspect ratio, width / height, is
    log-uniform in `ASPECT_RATIOS`; its position is uniform. If it does not fit into the image
    `TRIES` times, it is the largest centred part with an aspect ratio in that range.

    Args:
        width, height: size of the image, in pixels.
        draws: the source of random numbers.

    Returns:
        The left, top, right and bottom edges in pixels, as Pillow counts them.
    """
    narrowest, widest = ASPECT_RATIOS
    for _ in range(TRIES):
        area = width * height * draws.uniform(*AREAS)
        ratio = math.exp(draws.uniform(math.log(narrowest), math.log(widest)))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            left = int(draws.integers(0, width - box_width, endpoint=True))
            top = int(draws.integers(0, height - box_height, endpoint=True))
            return left, top, left + box_width, top + box_height
    box_width = min(width, round(height * widest))
    box_height = min(height, round(width / narrowest))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
