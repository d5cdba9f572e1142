"""An overlay over a file: what it changes, and which of the two a value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perigee.configuration.validation import suggestion
from perigee.errors import PerigeeError

SET, SWEEP = "set", "sweep"


def merged(
    base: Mapping[str, Any], overlay: Mapping[str, Any], file: str, *path: str
) -> dict[str, Any]:
    """A file's document with the values of an overlay, key by key.

    Lists are replaced whole, and so is a block whose ``name`` the overlay changes. In a sweep of
    named values null drops a name, and in its place the sweep. Below ``set`` any key of a run may
    be given.

    Args:
        base: the document.
        overlay: what changes.
        file: the overlay's name, for messages.
        path: keys that lead to both.

    Raises:
        PerigeeError: the overlay gives a key that the document lacks.
    """
    result = dict(base)
    for name, value in overlay.items():
        key, old = ".".join((*path, name)), base.get(name)
        is_free = SET in (*path, name)
        if name not in base and not is_free:
            raise PerigeeError(
                f"{file}: key '{key}' changes nothing, since the file that is overlaid has no such "
                f"key; {suggestion(name, base)}."
            )
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            is_other_block = value.get("name", old.get("name")) != old.get("name")
            result[name] = value if is_other_block else merged(old, value, file, *path, name)
        elif value is None and SWEEP in path[-2:]:
            del result[name]
        elif not is_free and isinstance(old, Mapping | list) and not isinstance(value, type(old)):
            wanted = "a mapping of names" if isinstance(old, Mapping) else "a list"
            raise PerigeeError(
                f"{file}: key '{key}' is {value!r}, but the file that is overlaid has {wanted} "
                "there; give one too."
            )
        else:
            result[name] = value
    return result


def holds(overlay: Mapping[str, Any], key: str) -> bool:
    """True if an overlay gives the value of a key; that of a run may stand in set or sweep."""
    key = key.partition("[")[0]
    first, _, rest = key.partition(".")
    run, _, inner = rest.partition(".")
    beside = [f"{first}.{run}.{part}.{inner}" for part in (SET, SWEEP)]
    beside += [f"{part}.{key}" for part in (SET, SWEEP)]
    return any(list(matches(overlay, one)) for one in (key, *beside))


def matches(document: Any, path: str) -> Iterator[Any]:
    """The values of a document that a dotted path leads to.

    Keys may have dots themselves; in the path * stands for any one key.
    """
    if not path:
        yield document
    elif isinstance(document, Mapping):
        for name, item in document.items():
            head = "*" if path.split(".")[0] == "*" else name
            if path == head or path.startswith(f"{head}."):
                yield from matches(item, path[len(head) + 1 :])


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        key = f"{prefix}.{name}".removeprefix(".")
        flat |= flattened(item, key) if isinstance(item, Mapping) else {key: item}
    return flat
