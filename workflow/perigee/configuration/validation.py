"""Checking documents against JSON schemas, with one sentence for what is wrong."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import jsonschema
from pydantic import BaseModel, ValidationError

from perigee import registry
from perigee.blocks.base import Block
from perigee.configuration.reading import read_yaml
from perigee.errors import PerigeeError
from perigee.paths import SCHEMAS
from perigee.registry import REGISTRY

KINDS = {
    "dataset": "data set",
    "fork": "rule for a fork",
}

LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "greater than {}",
    "exclusiveMaximum": "less than {}",
}


@cache
def read_schema(name: str) -> dict[str, Any]:
    """config/schemas/<name>.schema.yaml."""
    return read_yaml(SCHEMAS / f"{name}.schema.yaml")


def validated(document: Any, schema: Mapping[str, Any], file: str, key: str = "") -> Any:
    """The document with text that spells a number made one, and defaults filled in.

    Args:
        document: what a user wrote.
        schema: a JSON schema; of ``$ref`` only "#/$defs/..." is understood.
        file, key: where the document stands, for messages.

    Raises:
        PerigeeError: the document breaks the schema; the message names file, key and value.
    """
    completed = _complete(document, schema, schema)
    _refuse_not_finite(completed, file, key)
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(completed)
    )
    if error is not None:
        path = key + "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
        )
        raise PerigeeError(f"{file}: {_sentence(error, path.removeprefix('.'))}")
    return completed


def validated_block(kind: str, value: Mapping[str, Any], file: str, key: str) -> Block:
    """A building block with all its parameters, checked against its configuration class.

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
        raise PerigeeError(
            f"{file}: key '{key}.name' is '{name}', which is not {_with_article(kind)}; "
            f"{suggestion(str(name), known)}."
        )
    try:
        return registry.make(kind, value)
    except ValidationError as error:
        raise PerigeeError(f"{file}: {sentence(error, known[name], key)}") from error


def _with_article(kind: str) -> str:
    noun = KINDS.get(kind, kind)
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


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
    path = key + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place)
    path = path.removeprefix(".")
    inside = f" in '{key}'" if key else ""
    shown: Any = repr(value) if isinstance(value, str) else value
    if isinstance(value, tuple):
        shown = list(value)
    if kind == "missing" and isinstance(place[-1], int):
        # Of a list that is too short, one error for each entry that it lacks.
        path = path.rpartition("[")[0]
        place, kind = place[:-1], "too_short"
        limits = {"min_length": sum(one["loc"][:-1] == tuple(place) for one in error.errors())}
        limits["min_length"] += len(value)
        shown = list(value)
    if kind == "extra_forbidden":
        unknown = str(place[-1])
        return f"unknown key '{unknown}'{inside}; {suggestion(unknown, model.model_fields)}."
    if kind == "missing":
        return f"key '{place[-1]}'{inside} is missing; add it."
    if kind == "literal_error":
        known = [
            name.strip("'") for name in str(limits["expected"]).replace(" or ", ", ").split(", ")
        ]
        return f"key '{path}' is {shown}; {suggestion(str(value), known)}."
    if kind in PYDANTIC_LIMITS:
        words, limit = PYDANTIC_LIMITS[kind]
        return f"key '{path}' is {shown}; it must be {words} {_as_written(limits[limit])}."
    if kind in ("too_short", "too_long"):
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
    "dict_type": "mapping",
    "scalar_type": "number, string or boolean",
}


def _complete(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]] | {
            k: v for k, v in schema.items() if k != "$ref"
        }
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        other = schema.get("additionalProperties")
        other = other if isinstance(other, dict) else {}
        filled = {k: s["default"] for k, s in properties.items() if "default" in s} | value
        return {k: _complete(v, properties.get(k, other), root) for k, v in filled.items()}
    if isinstance(value, list):
        return [_complete(item, schema.get("items", {}), root) for item in value]
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if isinstance(value, str) and {"number", "integer"} & set(types):
        value = _as_number(value)
    if isinstance(value, str) and "boolean" in types and value in ("true", "false"):
        return value == "true"  # --config key=true arrives as text
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return int(value)
    return value


def _as_number(text: str) -> Any:
    """1e-3 is text to YAML 1.1, but a number to whoever writes it."""
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if math.isfinite(number) and number == int(number) else number


def _refuse_not_finite(value: Any, file: str, key: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_not_finite(item, file, f"{key}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _refuse_not_finite(item, file, f"{key}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise PerigeeError(f"{file}: key '{key}' is {value}; give a finite number.")


def _sentence(error: jsonschema.ValidationError, key: str) -> str:
    value: Any = error.instance
    limit: Any = error.validator_value
    kind = str(error.validator)
    inside = f" in '{key}'" if key else ""
    shown = repr(value) if isinstance(value, str) else value
    schema: Any = error.schema
    if kind == "additionalProperties":
        known = schema.get("properties", {})
        unknown = next(name for name in value if name not in known)
        return f"unknown key '{unknown}'{inside}; {suggestion(unknown, known)}."
    if kind == "required":
        missing = next(name for name in limit if name not in value)
        return f"key '{missing}'{inside} is missing; add it."
    if (
        error.parent is None
        and kind == "pattern"
        and error.absolute_schema_path[-2] == ("propertyNames")
    ):
        return f"'{value}'{inside} is not a possible name; names look like {limit}."
    if kind in LIMITS:
        return f"key '{key}' is {shown}; it must be {LIMITS[kind].format(limit)}."
    if kind == "type":
        wanted = " or ".join([limit] if isinstance(limit, str) else limit)
        wanted = wanted.replace("object", "mapping").replace("array", "list")
        return f"key '{key}' is {shown}; it must be of type {wanted}."
    if kind == "enum":
        return f"key '{key}' is {shown}; {suggestion(str(value), limit)}."
    if kind in ("minItems", "minProperties", "maxItems"):
        if not value:
            return f"key '{key}' is empty; give at least one entry."
        return f"key '{key}' is {shown}, which has {len(value)} entries; it must have {limit}."
    if kind == "maxProperties":
        return f"key '{key}' is {shown}, which has {len(value)} keys; give no more than {limit}."
    return f"key '{key}' is {shown}: {error.message}; change it."


def suggestion(name: str, known: Iterable[str]) -> str:
    """What a misspelt name may have been meant to be, and all that are known."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(name, names, n=1)
    listed = f"known are {', '.join(names)}" if names else "none is known here"
    return f"did you mean '{near[0]}'? ({listed})" if near else f"{listed}"
