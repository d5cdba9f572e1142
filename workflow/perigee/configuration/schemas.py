"""JSON schemas of the files in ``config/``, by which editors complete and check them.

``python -m perigee.configuration.schemas`` writes them to ``config/schemas/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from perigee.blocks.base import Block
from perigee.blocks.quantities import Quantity, Setting, settings_of
from perigee.configuration import models
from perigee.configuration.overlays import SWEEP
from perigee.paths import SCHEMAS
from perigee.registry import REGISTRY

FILES: Mapping[str, type[BaseModel]] = {
    "claims": models.Claims,
    "config": models.Settings,
    "figure": models.Figure,
    "paper": models.Paper,
    "scale": models.Scale,
    "study": models.Study,
}
OVERLAID = ("config", "figure", "paper")
"""Files that others are laid over, which give only what changes."""

BLOCK, RUN = "block", "run"
"""Marks that the models leave in their schemas: a block of a kind, and a whole run."""

LIMITS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
}
"""Pydantic's names for limits of numbers that are converted first -> the names in a schema."""


def schemas() -> dict[str, str]:
    """The text of every schema, by its file's name."""
    found = {name: _schema(model) for name, model in FILES.items()}
    found |= {f"{name}_overlay": _overlay(found[name]) for name in OVERLAID}
    return {
        f"{name}.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
        for name, schema in found.items()
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, with the blocks and their parameters among its definitions."""
    plain = model.model_json_schema()
    definitions = plain.setdefault("$defs", {})
    definitions |= {"Run": models.Run.model_json_schema()} if model is models.Study else {}
    definitions |= definitions.get("Run", {}).pop("$defs", {})
    kinds: set[str] = set()
    schema = _completed(plain, kinds)
    schema["$defs"] |= {kind: _completed(_blocks(kind), kinds) for kind in sorted(kinds)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _completed(schema: Any, kinds: set[str]) -> Any:
    """A schema with references in the place of marks, and the kinds of blocks that it names."""
    if isinstance(schema, list):
        return [_completed(item, kinds) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get(BLOCK), str):
        kinds.add(schema[BLOCK])
        reference = {"$ref": f"#/$defs/{schema[BLOCK]}"}
        return reference | {k: v for k, v in schema.items() if k == "description"}
    if schema.get(RUN) is True:
        return {"$ref": "#/$defs/Run"}
    found = {
        LIMITS.get(key, key): _completed(item, kinds)
        for key, item in schema.items()
        if key not in ("title", "default") or isinstance(item, dict)
    }
    if found.get("type") == "array" and "minLength" in found:
        found["minItems"] = found.pop("minLength")
    return found


def _blocks(kind: str) -> dict[str, Any]:
    """Any block of a kind."""
    known = REGISTRY[kind].items()
    return {"anyOf": [_block(name, block) for name, block in sorted(known)]}


def _block(name: str, block: type[Block]) -> dict[str, Any]:
    schema = block.model_json_schema()
    told = described(block)
    marked = settings_of(block).items()
    of_runs = {key for key, mark in marked if isinstance(mark, Setting) and mark.of_runs}
    named = {"name": {"const": name, "description": (block.__doc__ or "").partition("\n")[0]}}
    if issubclass(block, Quantity) and not block.is_named:
        named = {}
    parameters = {
        key: {**value, "description": value.get("description", told.get(key, key))}
        for key, value in schema.get("properties", {}).items()
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*named, *(key for key in schema.get("required", []) if key not in of_runs)],
        "properties": named | parameters,
    }


def described(block: type[Block]) -> dict[str, str]:
    """The descriptions of attributes in the docstrings of a block and its bases, by name."""
    found: dict[str, str] = {}
    for one in reversed(block.__mro__):
        names: list[str] = []
        _, _, lines = (one.__doc__ or "").partition("Attributes:\n")
        for line in lines.splitlines():
            indent = len(line) - len(line.lstrip())
            key, colon, words = line.strip().partition(": ")
            if indent == 8 and colon:
                names = key.split(", ")
                found |= dict.fromkeys(names, words)
            elif line.strip():
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _overlay(schema: Any) -> Any:
    """A schema in which nothing is required, and null may stand in the place of a sweep."""
    if isinstance(schema, list):
        return [_overlay(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _overlay(item) for key, item in schema.items() if key != "required"}
    values = found.get(SWEEP, {}).get("additionalProperties")
    if values is not None:
        values["anyOf"].append({"type": "null"})
    return found


def main() -> None:
    """Write the schemas."""
    for name, text in schemas().items():
        (SCHEMAS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
