"""Values that worker processes load, in order, for tasks that stream more than images and labels.

`perigee.tasks.streaming` starts and ends its workers in the same way.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from perigee.errors import PerigeeError
from perigee.tasks.streaming import _ignore_signals, _open_batches


@dataclass(frozen=True)
class Loading:
    """How values are loaded.

    Attributes:
        workers, prefetch, pin_memory: see `perigee.tasks.streaming.StreamedSplit`.
    """

    workers: int = 0
    prefetch: int = 2
    pin_memory: bool = False

    def values(self, source: Dataset[Any], keys: Sequence[Any]) -> Generator[Any, None, None]:
        """Load values in the order given; see `perigee.tasks.streaming.StreamedSplit.batches`.

        Args:
            source: a map from keys to values, which returns errors instead of raising them.
            keys: of the values.

        Raises:
            PerigeeError: the source returned one; the values before it have been yielded.
        """
        values = self._values(source, keys)
        _open_batches.add(values)
        return values

    def _values(self, source: Dataset[Any], keys: Sequence[Any]) -> Generator[Any, None, None]:
        loader: DataLoader[Any] = DataLoader(
            source,
            batch_size=None,
            sampler=keys,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            pin_memory=self.pin_memory,
            worker_init_fn=_ignore_signals,
            multiprocessing_context="fork" if self.workers else None,
            generator=torch.Generator(),
        )
        loaded = iter(loader)
        try:
            for value in loaded:
                if isinstance(value, PerigeeError):
                    raise value
                yield value
        finally:
            del loaded
