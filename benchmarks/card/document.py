"""The JSON of benchmarks/gpu.py, which is whole after every item, whenever the program ends."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

MEASURED, NOT_MEASURED = "measured", "not measured"


class Document:
    """A JSON file with what is known of a benchmark's items.

    Args:
        path: the file, which is replaced.
        head: what it says beside the items.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        self.items: dict[str, dict[str, Any]] = {}
        self.content = {**head, "items": self.items}
        self._write()

    def add(self, name: str, item: Mapping[str, Any]) -> None:
        """Note an item, and write the file."""
        self.items[name] = dict(item)
        self._write()

    def _write(self) -> None:
        aside = self.path.with_name(f"{self.path.name}.unfinished")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            json.dump(self.content, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)


def summary(figures: list[float]) -> dict[str, float]:
    """Median and range, to five digits."""
    found = {"median": median(figures), "min": min(figures), "max": max(figures)}
    return {name: float(f"{figure:.5g}") for name, figure in found.items()}


def card() -> dict[str, str]:
    """The GPU, its driver and libraries; no entry for what there is not."""
    if not torch.cuda.is_available():
        return {}
    found = {
        "card": torch.cuda.get_device_name(),
        "memory": f"{torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB",
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
    }
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(
            asked, capture_output=True, encoding="utf-8", timeout=20, check=True
        ).stdout
        found["driver"] = told.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        pass
    return found
