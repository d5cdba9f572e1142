"""Transforms of a decoded image together with its objects, for networks that take any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from perigee.data.annotated_files import Objects
from perigee.data.transforms import pixels


class Example(NamedTuple):
    """An image as a network sees it, with its objects in the image's pixels.

    Attributes:
        image: uint8, (3, height, width).
        boxes: float32, (objects, 4): left, top, right and bottom edges.
        categories: int64, (objects,), counted from 0.
        masks: whether each pixel belongs to each object, (objects, height, width).
    """

    image: Tensor
    boxes: Tensor
    categories: Tensor
    masks: np.ndarray


class AnnotatedTransform(Protocol):
    """A picklable map from a decoded image and its objects to what a network sees."""

    def __call__(self, image: Image.Image, objects: Objects, image_number: int) -> Example:
        """Transform one image.

        Args:
            image: RGB, of any size.
            objects: in the pixels of that image.
            image_number: the image's number in the split. The result may depend on it, on image and
                objects and on the transform's own attributes, and on nothing else.
        """


def resized_size(height: int, width: int, resize: int, longest_side: int) -> tuple[int, int]:
    """The height and width of an image after resizing, in whole pixels.

    The shorter side gets the length ``resize``, or less if the longer one would exceed
    ``longest_side`` (Lin et al. 2017, "Feature Pyramid Networks", Section 5).

    Args:
        height, width: of the image.
        resize, longest_side: see `perigee.blocks.datasets.AnnotatedImages`.
    """
    factor = min(resize / min(height, width), longest_side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


@dataclass(frozen=True)
class Resized:
    """The transform for evaluation: resize; nothing is random.

    Resizing is Pillow's bilinear one. Masks are drawn from the resized outlines, so that their
    edges are as sharp as the image has pixels.

    Attributes:
        resize, longest_side: see `resized_size`.
    """

    resize: int
    longest_side: int

    def __call__(self, image: Image.Image, objects: Objects, image_number: int) -> Example:
        """Transform one image, see `AnnotatedTransform`."""
        height, width = resized_size(image.height, image.width, self.resize, self.longest_side)
        scale = np.array([width / image.width, height / image.height], dtype=np.float32)
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        masks = np.zeros((len(objects.boxes), height, width), dtype=bool)
        for mask, polygons in zip(masks, objects.polygons, strict=True):
            mask[:] = filled([polygon * scale for polygon in polygons], height, width)
        return Example(
            pixels(resized),
            torch.from_numpy(objects.boxes * np.tile(scale, 2)),
            torch.from_numpy(objects.categories),
            masks,
        )


def filled(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """The pixels within any of some outlines, (height, width), with those on the outlines.

    Args:
        polygons: of an object, each (points, 2): x and y in pixels.
        height, width: of the image.
    """
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        draw.polygon(polygon.flatten().tolist(), fill=1)
    return np.array(canvas)


def mirrored(example: Example) -> Example:
    """An example mirrored left to right."""
    width = example.image.shape[2]
    left, top, right, bottom = example.boxes.unbind(1)
    return example._replace(
        image=example.image.flip(2),
        boxes=torch.stack([width - right, top, width - left, bottom], dim=1),
        masks=example.masks[:, :, ::-1],
    )
