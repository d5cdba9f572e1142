"""Reading YAML strictly."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from perigee.errors import PerigeeError

if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:
    # The parser in C, which most installations have, is eight times as fast.
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Loader):
    """Refuses a mapping that has one key twice, where plain YAML keeps the last silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            mark = node.value[position][0].start_mark
            place = f"{mark.name}, line {mark.line + 1}"
            if not isinstance(key, str):
                raise PerigeeError(
                    f"{place}: key '{key}' is read as {type(key).__name__}, not as text; put it in "
                    "quotes or rename it."
                )
            if key in keys[:position]:
                raise PerigeeError(
                    f"{place}: key '{key}' stands twice in one mapping; rename or remove one of "
                    "the two."
                )
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        PerigeeError: no such file, no YAML, no mapping, or a key that stands twice.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            document = yaml.load(stream, _StrictLoader)
    except OSError as error:
        raise PerigeeError(f"{path} cannot be read ({error.strerror}); create it.") from error
    except UnicodeDecodeError as error:
        raise PerigeeError(f"{path} is no UTF-8 text ({error.reason}); save it as such.") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise PerigeeError(f"{path} is not valid YAML: {problem}; mend that line.") from error
    if not isinstance(document, dict):
        raise PerigeeError(f"{path} holds no mapping of keys to values; fill it in.")
    return document
