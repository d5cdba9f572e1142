"""Reading YAML strictly: numbers as in YAML 1.2, no key twice in one mapping."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from perigee import paths
from perigee.errors import PerigeeError
from perigee.paths import shown

if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:
    # The parser in C, which most installations have, is eight times as fast.
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Loader):
    """Refuses a mapping that has one key twice, where plain YAML keeps the last silently.

    Scalars are those of YAML 1.2: 010 is ten, 1:30 and yes are text, and 1e-3 is a number.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - overrides PyYAML's

    def __init__(self, file: str, text: str) -> None:
        super().__init__(text)
        self.file = file

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            place = f"{self.file}, line {node.value[position][0].start_mark.line + 1}"
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


def _integer(loader: _StrictLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


for tag, pattern, first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first
    )
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _integer)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        PerigeeError: no such file, no YAML, no mapping, or a key that stands twice.
    """
    return _parsed(shown(path), _text(path))


def read_shared(path: Path) -> Mapping[str, Any]:
    """The same, parsed once while the file's text stays; it is not to be edited."""
    return _parsed_once(shown(path), _text(path))


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise PerigeeError(
            f"{shown(path)} cannot be read ({error.strerror}); create it."
        ) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PerigeeError(
            f"{shown(path)}, line {line}: not UTF-8 text ({error.reason}); save the file as UTF-8."
        ) from error


def _parsed(file: str, text: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, partial(_StrictLoader, file))  # type: ignore[arg-type]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise PerigeeError(f"{file}{line}: not valid YAML ({problem}); mend that line.") from error
    if not isinstance(document, dict):
        raise PerigeeError(f"{file} holds no mapping of keys to values; fill it in.")
    return document


_parsed_once = cache(_parsed)


def yaml_files(*folder: str, carried: bool = True) -> dict[str, Path]:
    """The YAML files of a folder below ``config/``, by their names without the suffix.

    Hidden files, such as the locks of editors, do not count.

    Args:
        folder: its path below ``config/``.
        carried: whether files that come with Perigee count, or only the project's own.

    Raises:
        PerigeeError: a file has the suffix .yml, which would be passed over.
    """
    found: dict[str, Path] = {}
    roots = paths.config_folders()
    for root in reversed(roots if carried else roots[:1]):
        found |= {path.stem: path for path in yaml_paths(root.joinpath(*folder), "")}
    return dict(sorted(found.items(), key=lambda item: _in_order(item[0])))


def yaml_paths(folder: Path, below: str) -> list[Path]:
    """The YAML files of a folder, or of the folders that a pattern such as "*/" finds below it.

    Raises:
        PerigeeError: a file has the suffix .yml, which would be passed over.
    """
    paths = sorted(folder.glob(f"{below}[!.]*.y*ml"))
    wrong = next((path for path in paths if path.suffix == ".yml"), None)
    if wrong is not None:
        name = wrong.with_suffix(".yaml").name
        raise PerigeeError(f"{shown(wrong)} is not read; rename it to {name}.")
    return [path for path in paths if path.suffix == ".yaml"]


def _in_order(name: str) -> list[tuple[int, str]]:
    """A sort key by which fig9 comes before fig10."""
    parts = re.split("([0-9]+)", name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
