"""Batches of images decoded from files, for data sets that do not fit on a device.

Nothing here depends on how batches are composed or which process decodes them: an image is the same
whatever the workers, the ranks, the size of batches and its position in an epoch.
"""

from __future__ import annotations

import atexit
import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from perigee.data.image_folder import FileSplit, read_image
from perigee.data.transforms import Transform
from perigee.errors import PerigeeError
from perigee.interruption import SIGNALS

Batches = Generator[tuple[Tensor, Tensor], None, None]

_open_batches: WeakSet[Batches] = WeakSet()


@dataclass(frozen=True)
class StreamedSplit:
    """A split's images, decoded again for every use.

    Attributes:
        split: the listing.
        root: the split's folder.
        workers: how many background processes decode, each with one thread; with 0 this process
            decodes.
        prefetch: how many batches each worker may be ahead, at least 1; with the batch in use,
            1 + workers * prefetch batches are in memory at most. Shared memory (/dev/shm) must
            hold them.
        pin_memory: whether batches are in page-locked memory, from which a GPU copies faster.
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
        job, so that this process can still use the batches while it saves its state. They end when
        the generator is closed or exhausted, when this process exits normally, and within seconds
        when it is killed.

        Args:
            indices: an array of image numbers for every batch, which may be empty; other images
                are not decoded.
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
        decoded = iter(loader)
        try:
            for batch in decoded:
                if isinstance(batch, PerigeeError):
                    raise batch
                images, labels = batch
                yield images, labels
        finally:
            del decoded  # Ends the workers: Python 3.12.3 keeps what a closed generator held.


@dataclass(frozen=True)
class _Decoder(Dataset[tuple[Tensor, Tensor] | PerigeeError]):
    """A map from the image numbers of a batch to its images.

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
                path, size = self.root / self.split.path(number), int(self.split.sizes[number])
                image.copy_(self.transform(read_image(path, size), number))
        except PerigeeError as error:
            return error
        return images, torch.from_numpy(self.split.labels[numbers])


def _ignore_signals(worker: int) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _close_batches() -> None:
    """End the workers before `multiprocessing` sends them SIGTERM and waits forever."""
    for batches in list(_open_batches):
        batches.close()
