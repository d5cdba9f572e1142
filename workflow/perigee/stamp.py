"""The line below every figure: its scale, and what differs from the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def deviations(settings: Mapping[str, Any], paper_settings: Mapping[str, Any]) -> list[str]:
    """List the deviations of a figure's settings from those at paper scale, in words, each once.

    Args:
        settings: the figure's settings at the current scale, by dotted key.
        paper_settings: the same figure's settings at paper scale.

    Returns:
        Deviations such as "width 8 (paper: 32)", in the order of the settings.
    """
    found: list[str] = []
    for key in (*settings, *(k for k in paper_settings if k not in settings)):
        here, there = settings.get(key), paper_settings.get(key)
        name = f"{key.rpartition('.')[0]}.name"
        if here is None and settings.get(name) not in (None, paper_settings.get(name)):
            continue  # another block is here, which is told, and has no such value
        if here != there:
            words = f"{_label(key)} {_shown(here)}"
            if there is not None:  # or else the paper's block has no such value
                words += f" (paper: {_shown(there)})"
            if words not in found:
                found.append(words)
    return found


def _label(key: str) -> str:
    *_, group, last = ["", *key.split(".")]
    return (group if last == "name" else last).replace("_", " ")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)
