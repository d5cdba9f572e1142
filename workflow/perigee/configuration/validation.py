"""Checking documents against pydantic models, with one sentence for what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from perigee import registry
from perigee.blocks.base import Block
from perigee.errors import PerigeeError
from perigee.registry import REGISTRY

KINDS = {
    "dataset": "data set",
    "fork": "rule for a fork",
}

Model = TypeVar("Model", bound=BaseModel)


class Sources(str):
    """The name of a file over which values are laid.

    Args:
        file: the name.
        source: a key -> where its value comes from, if not from the file.
    """

    source: Callable[[str], str | None]

    def __new__(cls, file: str, source: Callable[[str], str | None]) -> Sources:  # noqa: D102
        made = super().__new__(cls, file)
        made.source = source
        return made


def checked(model: type[Model], document: Mapping[str, Any], file: str, key: str = "") -> Model:
    """A document as a model, with text that spells a number made one, and defaults filled in.

    Args:
        model: what the document has to be.
        document: what a user wrote.
        file, key: where the document stands, for messages.

    Raises:
        PerigeeError: the document is wrong; the message names file, key and value.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise refusal(file, _path(error, key), sentence(error, model, key)) from error


def refusal(file: str, key: str, told: str) -> PerigeeError:
    """The error for what is wrong with a key, in the name of the file that holds it."""
    source = file.source(key) if isinstance(file, Sources) else None
    return PerigeeError(f"{source or file}: {told}")


def validated_block(kind: str, value: Mapping[str, Any], file: str, key: str) -> Block:
    """A block with all its parameters, checked against its configuration class.

    The runs of a sweep have most blocks in common; each is checked once.

    Raises:
        PerigeeError: there is no such block, or its parameters are wrong.
    """
    spelling = (kind, repr(value))  # tells 1 from 1.0 from "1"
    if spelling not in _CHECKED:
        _CHECKED[spelling] = _checked_block(kind, value, file, key)
    return _CHECKED[spelling]


_CHECKED: dict[tuple[str, str], Block] = {}
"""Blocks by kind and spelling."""


def _checked_block(kind: str, value: Mapping[str, Any], file: str, key: str) -> Block:
    known = REGISTRY[kind]
    name = value.get("name")
    if not isinstance(name, str) or name not in known:
        raise refusal(
            file,
            f"{key}.name",
            f"key '{key}.name' is '{name}', which is not {_with_article(kind)}; "
            f"{suggestion(str(name), known)}.",
        )
    try:
        return registry.make(kind, value)
    except ValidationError as error:
        raise refusal(file, _path(error, key), sentence(error, known[name], key)) from error


def _with_article(kind: str) -> str:
    noun = KINDS.get(kind, kind)
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _path(error: ValidationError, key: str) -> str:
    """The key of the first mistake."""
    place = error.errors()[0]["loc"]
    return _joined(key, [part for part in place if part != "[key]"])


def _joined(key: str, place: Iterable[int | str]) -> str:
    path = key + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place)
    return path.removeprefix(".")


def sentence(error: ValidationError, model: type[BaseModel], key: str) -> str:
    """The first mistake that a pydantic model found, in one sentence.

    Args:
        error: of the model.
        model: whose fields are known.
        key: where the validated mapping stands.
    """
    found = error.errors()[0]
    place, value, kind = list(found["loc"]), found["input"], found["type"]
    limits = found.get("ctx", {})
    path, above = _path(error, key), _joined(key, place[:-1])
    inside = f" in '{above}'" if above else ""
    shown: Any = repr(value) if isinstance(value, str) else value
    if isinstance(value, tuple):
        shown = list(value)
    if place and place[-1] == "[key]":
        above = _joined(key, place[:-2])
        inside = f" in '{above}'" if above else ""
        return f"'{value}'{inside} is not a possible name; it {found['msg']}."
    if kind == "missing" and isinstance(place[-1], int):
        # A list that is too short has one error for each entry that it lacks.
        path = path.rpartition("[")[0]
        place, kind = place[:-1], "too_short"
        limits = {"min_length": sum(one["loc"][:-1] == tuple(place) for one in error.errors())}
        limits["min_length"] += len(value)
        shown = list(value)
    if kind == "extra_forbidden":
        unknown = str(place[-1])
        return f"unknown key '{unknown}'{inside}; {suggestion(unknown, _keys(model, place[:-1]))}."
    if kind == "missing":
        return f"key '{place[-1]}'{inside} is missing; add it."
    if kind == "no_name":
        return f"key 'name' in '{path}' is missing; add it."
    if kind == "literal_error":
        known = [
            name.strip("'") for name in str(limits["expected"]).replace(" or ", ", ").split(", ")
        ]
        return f"key '{path}' is {shown}; {suggestion(str(value), known)}."
    if kind in PYDANTIC_LIMITS:
        words, limit = PYDANTIC_LIMITS[kind]
        return f"key '{path}' is {shown}; it must be {words} {_as_written(limits[limit])}."
    if kind in ("too_short", "too_long", "string_too_short"):
        wanted = limits.get("min_length", limits.get("max_length"))
        if not value and wanted == 1:
            return f"key '{path}' is empty; give at least one entry."
        entries = "1 entry" if len(value) == 1 else f"{len(value)} entries"
        return f"key '{path}' is {shown}, which has {entries}; it must have {wanted}."
    if kind == "finite_number":
        return f"key '{path}' is {shown}; give a finite number."
    wanted = PYDANTIC_TYPES.get(kind)
    if wanted:
        return f"key '{path}' is {shown}; it must be of type {wanted}."
    if found["msg"].startswith("must "):
        return f"key '{path}' is {shown}; it {found['msg']}."
    return f"key '{path}' is {shown}: {found['msg']}; change it."


def _keys(model: Any, place: Iterable[int | str]) -> Iterable[str]:
    """The keys that a model knows at a place within it."""
    for part in place:
        fields = getattr(model, "model_fields", None)
        inner = fields[part].annotation if fields else get_args(model)[-1]
        while get_origin(inner) not in (None, dict, tuple, list):  # of Annotated and Optional
            inner = get_args(inner)[0]
        model = inner
    return getattr(model, "model_fields", ())


def _as_written(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


PYDANTIC_LIMITS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
PYDANTIC_TYPES = {
    "number_type": "number",
    "float_type": "number",
    "float_parsing": "number",
    "integer_type": "integer",
    "int_type": "integer",
    "int_parsing": "integer",
    "int_from_float": "integer",
    "boolean_type": "boolean",
    "string_type": "string",
    "list_type": "list",
    "tuple_type": "list",
    "dict_type": "mapping",
    "model_type": "mapping",
    "scalar_type": "number, string or boolean",
}


def suggestion(name: str, known: Iterable[str]) -> str:
    """The known name that a misspelt one is near to, and all that are known."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(name, names, n=1)
    listed = f"known are {', '.join(names)}" if names else "none is known here"
    return f"did you mean '{near[0]}'? ({listed})" if near else f"{listed}"
