"""BatchNorm's running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def running_statistics_left_alone(model: nn.Module) -> Iterator[None]:
    """While the context is active, BatchNorm in train mode leaves its running statistics alone."""
    tracking = [
        module for module in model.modules() if getattr(module, "track_running_stats", False)
    ]
    for module in tracking:
        module.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True  # type: ignore[assignment]
