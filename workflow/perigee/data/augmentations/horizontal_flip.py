"""Random horizontal flips of images with objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from perigee.data.annotated_files import Objects
from perigee.data.annotated_transforms import Example, Resized, mirrored

STREAM = 3
"""The key that separates these random numbers from those of `perigee.data.order` and others."""


@dataclass(frozen=True)
class HorizontalFlip:
    """The usual augmentation of COCO: the resized image, mirrored with probability 1/2.

    The random numbers depend on (seed, epoch, image number) only, so they need no state to resume.

    Attributes:
        resize, longest_side: see `perigee.data.annotated_transforms.resized_size`.
        seed: the run's seed.
        epoch: counted from 0.
    """

    resize: int
    longest_side: int
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, objects: Objects, image_number: int) -> Example:
        """Transform one image, see `perigee.data.annotated_transforms.AnnotatedTransform`."""
        source = np.random.SeedSequence((self.seed, self.epoch, image_number), spawn_key=(STREAM,))
        is_mirrored = np.random.Generator(np.random.Philox(source)).random() < 0.5
        example = Resized(self.resize, self.longest_side)(image, objects, image_number)
        return mirrored(example) if is_mirrored else example
