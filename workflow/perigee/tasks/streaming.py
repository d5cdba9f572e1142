"""Batches of images decoded from files, for data sets that do not fit on a device.

Nothing here depends on how batches are made up or who decodes them: an image comes out the same
whatever the workers, the ranks, the size of batches and its position in an epoch.
"""

from __future__ import annotations

import atexit
import math
import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from perigee.data.image_folder import FileSplit, read_image
from perigee.errors import PerigeeError
from perigee.interruption import SIGNALS

AREAS = (0.08, 1.0)
ASPECT_RATIOS = (3 / 4, 4 / 3)
TRIES = 10
"""Of random crops: what torchvision's ``RandomResizedCrop`` documents as its default."""

STREAM = 2
"""Tells these random numbers from those of `perigee.data.order` and its like."""

Batches = Generator[tuple[Tensor, Tensor], None, None]

_open_batches: WeakSet[Batches] = WeakSet()


class Transform(Protocol):
    """How a decoded image becomes the square one that a network sees. It must be picklable."""

    @property
    def resolution(self) -> int:
        """Height and width that come out, in pixels."""

    def __call__(self, image: Image.Image, image_number: int) -> Tensor:
        """Transform one image.

        Args:
            image: RGB, of any size.
            image_number: its number in the split, the only thing besides the image and the
                transform's own attributes that the outcome may depend on.

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
        # The shorter side comes out exact: resize * shorter is divided by shorter.
        width, height = (self.resize * side // shorter for side in image.size)
        left, top = (round((side - self.resolution) / 2) for side in (width, height))
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        return _pixels(resized.crop((left, top, left + self.resolution, top + self.resolution)))


@dataclass(frozen=True)
class ResizedCropAndFlip:
    """The usual augmentation of ImageNet: a random part of the image, resized, mirrored or not.

    The part is that of `random_box`; it is resized with Pillow's bilinear filter and mirrored left
    to right with probability 1/2. The random numbers depend on (seed, epoch, image number) only, so
    they need no state to resume.

    Attributes:
        resolution: height and width that come out, in pixels.
        seed: the run's.
        epoch: counted from 0.
    """

    resolution: int
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, image_number: int) -> Tensor:
        """Transform one image, see `Transform`."""
        source = np.random.SeedSequence((self.seed, self.epoch, image_number), spawn_key=(STREAM,))
        draws = np.random.Generator(np.random.Philox(source))
        mirrored = draws.random() < 0.5
        # Cropped before it is resized: with `box`, `resize` would look at pixels beyond the box.
        cropped = image.crop(random_box(*image.size, draws))
        resized = cropped.resize((self.resolution, self.resolution), Image.Resampling.BILINEAR)
        if mirrored:
            resized = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _pixels(resized)


def random_box(width: int, height: int, draws: np.random.Generator) -> tuple[int, int, int, int]:
    """A random part of an image, as torchvision's ``RandomResizedCrop`` documents it.

    Its area is uniform in `AREAS`, as a share of the image's; its aspect ratio, width / height, is
    log-uniform in `ASPECT_RATIOS`; its position is uniform. If it does not fit into the image
    `TRIES` times, it is the largest centred part with an aspect ratio in that range.

    Args:
        width, height: of the image, in pixels.
        draws: where random numbers come from.

    Returns:
        Left, top, right and bottom edge in pixels, as Pillow counts them.
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


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@dataclass(frozen=True)
class StreamedSplit:
    """A split's images, decoded anew whenever they are asked for.

    Attributes:
        split: the listing.
        root: the split's folder.
        workers: how many background processes decode, each with one thread; 0 has this process
            do it.
        prefetch: how many batches each worker may be ahead, at least 1; with the batch in use,
            1 + workers * prefetch batches are in memory at most. Shared memory (/dev/shm) must
            hold them.
        pin_memory: whether batches come in page-locked memory, from which a GPU copies faster.
    """

    split: FileSplit
    root: Path
    workers: int = 0
    prefetch: int = 2
    pin_memory: bool = False

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, indices: Sequence[np.ndarray], transform: Transform) -> Batches:
        """Decode batches in the order given.

        Workers ignore SIGINT and SIGTERM, which a terminal or SLURM sends to all processes of a
        job: this process can save its state and go on with the batches meanwhile. They end when
        the generator is closed or used up, when this process ends in an orderly way, and within
        seconds when it is killed.

        Args:
            indices: an array of image numbers for every batch, which may be empty; what is left
                out of them is not decoded.
            transform: applied to every image.

        Yields:
            Images, uint8, (n, 3, resolution, resolution), and labels, int64, (n,), on the CPU.

        Raises:
            PerigeeError: an image cannot be read; the batches before it have been yielded.
        """
        batches = self._batches(indices, transform)
        _open_batches.add(batches)
        return batches

    def _batches(self, indices: Sequence[np.ndarray], transform: Transform) -> Batches:
        loader: DataLoader[tuple[Tensor, Tensor] | PerigeeError] = DataLoader(
            _Decoder(self.split, self.root, transform),
            batch_size=None,  # What the sampler gives is a whole batch already.
            sampler=indices,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            pin_memory=self.pin_memory,
            worker_init_fn=_ignore_signals,
            # Starts in milliseconds and shares the listing's memory; workers do not touch a GPU.
            multiprocessing_context="fork" if self.workers else None,
            # Otherwise the loader draws a number from the process's own random numbers.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, PerigeeError):
                raise batch
            images, labels = batch
            yield images, labels


@dataclass(frozen=True)
class _Decoder(Dataset[tuple[Tensor, Tensor] | PerigeeError]):
    """Batches by their image numbers.

    An error is returned, not raised: the loader would wrap a traceback into its message.
    """

    split: FileSplit
    root: Path
    transform: Transform

    def __getitem__(self, numbers: np.ndarray) -> tuple[Tensor, Tensor] | PerigeeError:
        side = self.transform.resolution
        images = torch.empty((len(numbers), 3, side, side), dtype=torch.uint8)
        try:
            for image, number in zip(images, numbers.tolist(), strict=True):
                image.copy_(self.transform(read_image(self.root / self.split.path(number)), number))
        except PerigeeError as error:
            return error
        return images, torch.from_numpy(self.split.labels[numbers])


def _ignore_signals(worker: int) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _close_batches() -> None:
    """Have workers end before `multiprocessing` sends them SIGTERM and waits for ever."""
    for batches in list(_open_batches):
        batches.close()
