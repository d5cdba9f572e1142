"""The first difference between two products, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open

from perigee.store.provenance import read_provenance


@dataclass(frozen=True)
class Difference:
    """Where two products differ first.

    Attributes:
        place: file, column or tensor, and row, in words.
        old, new: what stands there.
    """

    place: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.place}: {self.old} by the old code, {self.new} by the new"


def first_difference(old: Path, new: Path) -> Difference | None:
    """Compare all files of two products; None if they hold the same.

    Args:
        old, new: folders of complete products.

    Raises:
        PerigeeError: one of them is not complete.
    """
    files, others = (sorted(read_provenance(folder).files) for folder in (old, new))
    if files != others:
        return Difference("files", ", ".join(files), ", ".join(others))
    for name in files:
        found = _in_file(old / name, new / name)
        if found:
            return found
    return None


def _in_file(old: Path, new: Path) -> Difference | None:
    if old.read_bytes() == new.read_bytes():
        return None
    read = READERS.get(old.suffix)
    if read is None:
        return Difference(old.name, "other bytes", "other bytes")
    return _in_arrays(old.name, read(old), read(new))


def _in_arrays(
    file: str, old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]
) -> Difference | None:
    """Of arrays by name; of columns of equal length the earliest row counts, not the column."""
    if list(old) != list(new):
        return Difference(f"{file}, names", ", ".join(old), ", ".join(new))
    first: tuple[int, Difference] | None = None
    for name in old:
        one, other = old[name], new[name]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            shapes = (f"{array.dtype} {array.shape}" for array in (one, other))
            return Difference(f"{file}, {name}", *shapes)
        position = _first_unequal(one, other)
        if position is not None and (first is None or position < first[0]):
            place = f"{file}, {name}, row {position}"
            first = position, Difference(place, _plain(one, position), _plain(other, position))
    return first[1] if first else None


def _first_unequal(one: np.ndarray, other: np.ndarray) -> int | None:
    """Position in the flattened arrays; NaN equals NaN of the same bits, 0 does not equal -0."""
    if one.dtype == object:
        unequal: Any = np.array(
            [a != b for a, b in zip(one.flat, other.flat, strict=True)], dtype=bool
        )
    else:
        width = one.dtype.itemsize
        bits = (
            np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(-1, width)
            for array in (one, other)
        )
        unequal = np.not_equal(*bits).any(axis=1)
    return int(np.argmax(unequal)) if unequal.any() else None


def _plain(array: np.ndarray, position: int) -> Any:
    value = array.flat[position]
    return value.item() if isinstance(value, np.generic) else value


def _columns(path: Path) -> dict[str, np.ndarray]:
    table = pd.read_parquet(path)
    return {f"column {name}": table[name].to_numpy() for name in table}


def _tensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        described = file.metadata() or {}
        texts = {f"metadata {k}": np.array([v], dtype=object) for k, v in described.items()}
        return texts | {f"tensor {name}": file.get_tensor(name) for name in sorted(file.keys())}


def _array(path: Path) -> dict[str, np.ndarray]:
    return {"array": np.load(path)}


def _text(path: Path) -> dict[str, np.ndarray]:
    return {"line": np.array(path.read_text().splitlines(), dtype=object)}


READERS: Mapping[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".json": _text,
    ".npy": _array,
    ".parquet": _columns,
    ".safetensors": _tensors,
}
