"""The base class of all blocks, and the types of their parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


class Block(BaseModel):
    """A block with its parameters, as a configuration names it.

    A subclass declares the parameters as fields, and names itself in the class statement::

        class Cosine(Schedule, name="cosine", code="perigee.kernel.schedules.cosine:Cosine"):

    A default is a promise: values equal to it are left out of every identity, so it never changes;
    new behaviour needs a new value.

    Attributes:
        kind: the kind of block, such as "optimiser".
        name: the block's name, unique among the blocks of its kind.
        code: where the implementation is, "module:attribute".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[str]
    name: ClassVar[str]
    code: ClassVar[str]

    def __init_subclass__(cls, **named: str) -> None:
        super().__init_subclass__()
        for attribute, value in named.items():
            setattr(cls, attribute, value)

    @property
    def module(self) -> str:
        """The module that holds the implementation."""
        return self.code.partition(":")[0]

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters, defaults included, as plain values."""
        return {field: plain(getattr(self, field)) for field in type(self).model_fields}

    def to_dict(self) -> dict[str, Any]:
        """The canonical form: the name, and the parameters that differ from their defaults."""
        return {"name": self.name, **without_defaults(self)}

    def full_dict(self) -> dict[str, Any]:
        """The name and all parameters."""
        return {"name": self.name, **self.parameters}


def without_defaults(model: BaseModel) -> dict[str, Any]:
    """Return the plain values of a model's fields, except those that equal their defaults."""
    defaults = _defaults(type(model))
    return {
        name: plain(getattr(model, name))
        for name in type(model).model_fields
        if name not in defaults or getattr(model, name) != defaults[name]
    }


@cache
def _defaults(model: type[BaseModel]) -> Mapping[str, Any]:
    """The defaults of a model's fields, cached because pydantic copies them on every access."""
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def plain(value: Any) -> Any:
    """Convert a value to dicts, lists, texts, numbers, booleans and None."""
    if isinstance(value, Block):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def as_number(value: Any) -> Any:
    """Convert text that spells a number to that number: 1e-3 is text to YAML 1.1."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "must be of type number")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise PydanticCustomError("number_type", "must be of type number") from None
    return value


def as_integer(value: Any) -> Any:
    """Convert text that spells a whole number to that number, before pydantic validates it."""
    if isinstance(value, bool):
        raise PydanticCustomError("integer_type", "must be of type integer")
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
        try:
            value = float(value)
        except ValueError:
            raise PydanticCustomError("integer_type", "must be of type integer") from None
    return value


def _as_truth(value: Any) -> Any:
    if value in ("true", "false"):
        return value == "true"  # --config key=true arrives as text
    if not isinstance(value, bool):
        raise PydanticCustomError("boolean_type", "must be of type boolean")
    return value


def as_scalar(value: Any) -> Any:
    """Return a number, text or truth value; text that spells a number or truth value becomes it."""
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("scalar_type", "must be of type number, string or boolean")
    if value in ("true", "false"):
        return value == "true"
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        if math.isfinite(number):
            return int(number) if number == int(number) else number
    return value


def as_tuple(value: Any) -> Any:
    """Convert a list to a tuple, which can be hashed, before pydantic validates the items."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise PydanticCustomError("list_type", "must be of type list")
    return tuple(value)


Number = Annotated[float, BeforeValidator(as_number)]
Positive = Annotated[Number, Gt(0)]
NotNegative = Annotated[Number, Ge(0)]
BelowOne = Annotated[Number, Ge(0), Lt(1)]
Share = Annotated[Number, Gt(0), Le(1)]
Integer = Annotated[int, BeforeValidator(as_integer)]
Count = Annotated[Integer, Ge(1)]
NotNegativeInteger = Annotated[Integer, Ge(0)]
Seed = Annotated[Integer, Ge(0), Le(2**32 - 1)]
Truth = Annotated[bool, BeforeValidator(_as_truth)]
Positives = Annotated[tuple[Positive, ...], BeforeValidator(as_tuple), MinLen(1)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(as_tuple), MinLen(1)]
Pair = Annotated[tuple[Number, Number], BeforeValidator(as_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
