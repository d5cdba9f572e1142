"""A claim as data: what a paper says of a figure, as a rule on a measured quantity."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perigee.errors import PerigeeError
from perigee.spec import Component

RELATIONS = {
    "at_least": (operator.ge, "≥"),
    "at_most": (operator.le, "≤"),
    "greater_than": (operator.gt, ">"),
    "less_than": (operator.lt, "<"),
    "equal_to": (operator.eq, "="),
}
"""How a measured value may relate to the expected one. NaN fulfils none."""


class NotMeasurableError(PerigeeError):
    """The table has no runs of the setting that a quantity asks for; the message says which."""


@dataclass(frozen=True)
class Claim:
    """What a paper says of a figure, as a rule.

    Attributes:
        name: unique in its figure.
        says: what the paper says, in our words.
        source: the place in the paper.
        table: name of the figure's table that the quantity is measured on.
        quantity: what is measured.
        relation: a key of `RELATIONS`.
        bound: what the measured value has to be at least, at most, ...
        testable: whether the claim can be tested at the scale at hand.
    """

    name: str
    says: str
    source: str
    table: str
    quantity: Component
    relation: str
    bound: float
    testable: bool

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Claim:
        """The inverse of `to_dict`."""
        return cls(**{**values, "quantity": Component.from_dict(values["quantity"])})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self), "quantity": self.quantity.to_dict()}

    @property
    def expected(self) -> str:
        """Such as "≥ 2"."""
        return f"{RELATIONS[self.relation][1]} {shown(self.bound)}"

    def fulfilled_by(self, value: float) -> bool:
        """Whether a measured value stands in the expected relation."""
        return bool(RELATIONS[self.relation][0](value, self.bound))


def shown(value: Any) -> str:
    """A value of a claim as text: four digits of a number, "nothing" for NaN."""
    if isinstance(value, Mapping):
        return " and ".join(f"{name} {shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, float):
        return "nothing" if math.isnan(value) else f"{value:.4g}"
    return str(value)
