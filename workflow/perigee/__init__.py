"""Perigee: the training dynamics of normalised networks under weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perigee.access import open as open
    from perigee.in_memory import train as train

__version__ = "0.1.0"

FUNCTIONS = ("open", "train")
"""What Python users call (docs/python.md); imported when first asked for, so that importing the
package costs nothing."""


def __getattr__(name: str) -> Any:
    if name == "open":
        from perigee import access

        return access.open
    if name == "train":
        from perigee import in_memory

        return in_memory.train
    raise AttributeError(f"module 'perigee' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS})
