"""Checking documents against pydantic models, with one sentence for what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from perigee.blocks.base import Block
from perigee.errors import PerigeeError
from perigee.registry import REGISTRY

KINDS = {
    "analysis": "an analysis",
    "augmentation": "an augmentation",
    "dataset": "a data set",
    "evaluation": "an evaluation",
    "fork": "a rule for a fork",
    "optimiser": "an optimiser",
}
"""Kinds of blocks -> what a sentence calls one of them, where that is not "a" and the kind."""

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
        raise refusal(file, _path(error, key), _sentence(error, model, key)) from error
    except PerigeeError as error:  # on two blocks of a run that do not fit
        raise refusal(file, key, f"{f'{key}: ' if key else ''}{error}") from error


def refusal(file: str, key: str, told: str) -> PerigeeError:
    """The error for what is wrong with a key, in the name of the file that holds it."""
    source = file.source(key) if isinstance(file, Sources) else None
    return PerigeeError(f"{source or file}: {told}")


def wrong(file: str, key: str, told: str) -> PerigeeError:
    """The error whose sentence begins with the key that it is about."""
    return refusal(file, key, f"key '{key}' {told}")


def validated_block(kind: str, value: Mapping[str, Any], file: str, key: str) -> Any:
    """A block of a kind with all its parameters, checked against its configuration class.

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
        raise wrong(
            file,
            f"{key}.name",
            f"is '{name}', which is not {KINDS.get(kind, f'a {kind}')}; "
            f"{suggestion(str(name), known)}.",
        )
    parameters = {parameter: item for parameter, item in value.items() if parameter != "name"}
    return checked(known[name], parameters, file, key)


def _first(error: ValidationError) -> ErrorDetails:
    """The first mistake; of a missing key and an unknown one beside it, the unknown one."""
    first, *others = error.errors()
    if first["type"] != "missing":
        return first
    beside = (one for one in others if one["loc"][:-1] == first["loc"][:-1])
    return next((one for one in beside if one["type"] == "extra_forbidden"), first)


def _path(error: ValidationError, key: str) -> str:
    """The key of the first mistake."""
    return _joined(key, [part for part in _first(error)["loc"] if part != "[key]"])


def _joined(key: str, place: Iterable[int | str]) -> str:
    path = key + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place)
    return path.removeprefix(".")


def _sentence(error: ValidationError, model: type[BaseModel], key: str) -> str:
    """The first mistake that a pydantic model found, in one sentence.

    Args:
        error: of the model.
        model: whose fields are known.
        key: where the validated mapping stands.
    """
    found = _first(error)
    place, value, kind, message = list(found["loc"]), found["input"], found["type"], found["msg"]
    context = found.get("ctx", {})
    limits = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
    shown = repr(list(value) if isinstance(value, tuple) else value)
    is_key = bool(place) and place[-1] == "[key]"
    path, above = _path(error, key), _joined(key, place[: -2 if is_key else -1])
    inside = f" in '{above}'" if above else ""
    if is_key:
        return f"'{value}'{inside} is not a possible name; it {message}."
    if kind == "missing" and isinstance(place[-1], int):
        # A list that is too short has one error for each entry that it lacks.
        path, kind = above, "too_short"
        missing = [one for one in error.errors() if list(one["loc"][:-1]) == place[:-1]]
        limits["min_length"] = len(value) + len(missing)
    if kind == "extra_forbidden":
        unknown = str(place[-1])
        return f"unknown key '{unknown}'{inside}; {suggestion(unknown, _keys(model, place[:-1]))}."
    if kind == "missing":
        return f"key '{place[-1]}'{inside} is missing; add it."
    if kind == "no_name":
        return f"key 'name' in '{path}' is missing; add it."
    if kind in ("too_short", "too_long", "string_too_short"):
        wanted = limits.get("min_length", limits.get("max_length"))
        if not value and wanted == 1:
            return f"key '{path}' is empty; give at least one entry."
        entries = "1 entry" if len(value) == 1 else f"{len(value)} entries"
        return f"key '{path}' is {shown}, which has {entries}; it must have {wanted}."
    if kind == "literal_error":
        known = [name.strip("'") for name in re.split(", | or ", limits["expected"])]
        return f"key '{path}' is {shown}; {suggestion(str(value), known)}."
    if kind in REMEDIES:
        return f"key '{path}' is {shown}; {REMEDIES[kind].format(**limits)}."
    if message.startswith("must "):
        return f"key '{path}' is {shown}; it {message}."
    return f"key '{path}' is {shown}: {message}; change it."


def _keys(model: Any, place: Iterable[int | str]) -> Iterable[str]:
    """The keys that a model knows at a place within it."""
    for part in place:
        fields = getattr(model, "model_fields", None)
        inner = fields[part].annotation if fields else get_args(model)[-1]
        while get_origin(inner) not in (None, dict, tuple, list):  # of Annotated and Optional
            inner = get_args(inner)[0]
        model = inner
    return getattr(model, "model_fields", ())


REMEDIES = {
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "finite_number": "give a finite number",
    "float_type": "it must be of type number",
    "float_parsing": "it must be of type number",
    "int_type": "it must be of type integer",
    "int_parsing": "it must be of type integer",
    "int_from_float": "it must be of type integer",
    "string_type": "it must be of type string",
    "list_type": "it must be of type list",
    "tuple_type": "it must be of type list",
    "dict_type": "it must be of type mapping",
    "model_type": "it must be of type mapping",
}
"""Pydantic's types of mistakes -> what is said of them; those of our own tell it themselves."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """The known name that a misspelt one is near to, and all that are known."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(name, names, n=1)
    listed = f"known are {', '.join(names)}" if names else "none is known here"
    return f"did you mean '{near[0]}'? ({listed})" if near else f"{listed}"
