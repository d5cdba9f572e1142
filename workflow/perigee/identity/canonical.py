"""The canonical form that digests are computed from: one text for one meaning."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

DIGEST_LENGTH = 16
"""The number of hexadecimal digits of a digest in a path: 64 bits."""


def canonical(value: Any) -> Any:
    """Return the value with one spelling for every number: 1, 1.0 and 1e0 become the same.

    Whole numbers become int, others float. The order of keys does not matter (see
    `canonical_json`). Text stays text: whether "1e-3" is a number is for the schema to decide.

    Raises:
        TypeError: the value is not made of dicts, lists, strings, numbers, booleans and None.
        ValueError: a number is not finite.
    """
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return int(value) if value == int(value) else float(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} has no canonical form")


def canonical_json(value: Any) -> str:
    """The compact JSON of the canonical form with sorted keys."""
    return json.dumps(
        canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """The first `DIGEST_LENGTH` hexadecimal digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:DIGEST_LENGTH]
