"""Values that differ between the scales."""

from __future__ import annotations

from typing import Any

from perigee.errors import PerigeeError

SCALES = ("smoke", "laptop", "paper")
"""smoke: seconds, for tests; laptop: bundled data, minutes; paper: the papers' data and sizes."""


def at_scale(value: Any, scale: str, file: str, key: str = "") -> Any:
    """The value with every ``{smoke: ..., laptop: ..., paper: ...}`` in it replaced by one of them.

    Args:
        value: a document as read from YAML.
        scale: one of `SCALES`.
        file, key: where the value stands, for messages.

    Raises:
        PerigeeError: a value is given for some scales only.
    """
    if isinstance(value, list):
        return [at_scale(v, scale, file, f"{key}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, dict):
        return value
    given = set(value) & set(SCALES)
    if given:
        missing = [name for name in SCALES if name not in value]
        foreign = [str(name) for name in value if name not in SCALES]
        if missing or foreign:
            problem = (
                f"has no value for the scale '{missing[0]}'"
                if missing
                else f"has '{foreign[0]}' beside the scales"
            )
            raise PerigeeError(
                f"{file}: key '{key}' {problem}; a value per scale names exactly "
                f"{', '.join(SCALES)}."
            )
        return at_scale(value[scale], scale, file, key)
    return {
        name: at_scale(v, scale, file, f"{key}.{name}" if key else str(name))
        for name, v in value.items()
    }
