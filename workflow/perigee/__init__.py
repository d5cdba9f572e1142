"""Perigee: the training dynamics of normalised networks under weight decay."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perigee.access import open as open
    from perigee.in_memory import train as train

__version__ = "0.1.0"

FUNCTIONS = {"open": "perigee.access", "train": "perigee.in_memory"}
"""The public functions (docs/python.md) by their modules, imported on first use, so that importing
the package costs nothing."""


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return getattr(importlib.import_module(FUNCTIONS[name]), name)
    raise AttributeError(f"module 'perigee' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS})
