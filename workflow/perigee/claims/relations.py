"""The relations that a number may have to a bound, and how they are written."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

RELATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "greater_than": operator.gt,
    "less_than": operator.lt,
    "equal_to": operator.eq,
    "different_from": lambda value, bound: (value < bound) | (value > bound),
}
"""The functions of the relations, of numbers or of arrays. NaN fulfils none."""

SIGNS: Mapping[str, str] = {
    "at_least": "≥",
    "at_most": "≤",
    "greater_than": ">",
    "less_than": "<",
    "equal_to": "=",
    "different_from": "≠",
}


def number(value: float) -> str:
    """A number as text, with four digits; "nothing" for NaN."""
    return "nothing" if math.isnan(value) else f"{value:.4g}"


def shown(value: Any) -> str:
    """A parameter of a quantity as text."""
    if isinstance(value, Mapping):
        return " and ".join(f"{name} {_condition(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    return number(value) if isinstance(value, float) else str(value)


def _condition(value: Any) -> str:
    """A condition on a column in words, such as "B" or "≥ 2 and < 5"."""
    if isinstance(value, Mapping):
        return " and ".join(f"{SIGNS[name]} {shown(bound)}" for name, bound in value.items())
    return shown(value)
