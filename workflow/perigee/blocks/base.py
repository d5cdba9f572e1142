"""The base class of all blocks, and the types of their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


class Block(BaseModel):
    """A building block with its parameters, as a configuration names it.

    A subclass declares the parameters as fields. A default is a promise: values equal to it are
    left out of every identity, so it never changes; another behaviour is another value.

    Attributes:
        kind: such as "optimiser".
        name: unique among the blocks of its kind.
        code: where the implementation is, "module:attribute".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[str]
    name: ClassVar[str]
    code: ClassVar[str]

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
    """The plain values of a model's fields, those left out that equal their defaults."""
    fields = type(model).model_fields
    return {
        name: plain(getattr(model, name))
        for name, field in fields.items()
        if field.is_required()
        or getattr(model, name) != field.get_default(call_default_factory=True)
    }


def plain(value: Any) -> Any:
    """A value made of dicts, lists, texts, numbers, booleans and None."""
    if isinstance(value, Block):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _as_number(value: Any) -> Any:
    """Text that spells a number as that number: 1e-3 is text to YAML 1.1."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "must be of type number")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise PydanticCustomError("number_type", "must be of type number") from None
    return value


def _as_integer(value: Any) -> Any:
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


def _as_scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("scalar_type", "must be of type number, string or boolean")
    return value


def as_tuple(value: Any) -> Any:
    """A list as a tuple, before the types of its entries are looked at.

    Raises:
        PydanticCustomError: it is no list.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise PydanticCustomError("list_type", "must be of type list")
    return tuple(value)


Number = Annotated[float, BeforeValidator(_as_number)]
Positive = Annotated[Number, Gt(0)]
NotNegative = Annotated[Number, Ge(0)]
BelowOne = Annotated[Number, Ge(0), Lt(1)]
Share = Annotated[Number, Gt(0), Le(1)]
Integer = Annotated[int, BeforeValidator(_as_integer)]
Count = Annotated[Integer, Ge(1)]
NotNegativeInteger = Annotated[Integer, Ge(0)]
Seed = Annotated[Integer, Ge(0), Le(2**32 - 1)]
Truth = Annotated[bool, BeforeValidator(_as_truth)]
Scalar = Annotated[Any, AfterValidator(_as_scalar)]
Rows = dict[str, Scalar]
"""Rows of a table, told by the values of some of its columns."""

Positives = Annotated[tuple[Positive, ...], BeforeValidator(as_tuple), MinLen(1)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(as_tuple), MinLen(1)]
Pair = Annotated[tuple[Number, Number], BeforeValidator(as_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
