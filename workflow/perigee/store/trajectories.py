"""Reading checkpoints out of a run's trajectory."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perigee.errors import PerigeeError


def trajectory_name(every: int) -> str:
    """Of the file that holds a checkpoint every so many epochs."""
    return f"trajectory-every{every}.npy"


def trajectory_description(every: int) -> str:
    """Of the file beside it that tells the rows' epochs and parts."""
    return f"trajectory-every{every}.json"


def read_checkpoint(path: Path, epoch: int) -> dict[str, NDArray[np.floating]]:
    """One checkpoint: trained parameters and BatchNorm's statistics by name.

    Args:
        path: of the rows; their description lies beside them, as ``.json``.
        epoch: of the checkpoint.

    Raises:
        PerigeeError: no checkpoint of that epoch was kept.
    """
    described = json.loads(path.with_suffix(".json").read_text())
    if epoch not in described["epochs"]:
        kept = ", ".join(map(str, described["epochs"]))
        raise PerigeeError(f"{path} has no checkpoint of epoch {epoch}, only of {kept}.")
    row = np.load(path, mmap_mode="r", allow_pickle=False)[described["epochs"].index(epoch)]
    parts = {}
    start = 0
    for part in described["parts"]:
        end = start + math.prod(part["shape"])
        parts[part["name"]] = np.array(row[start:end]).reshape(part["shape"])
        start = end
    return parts
