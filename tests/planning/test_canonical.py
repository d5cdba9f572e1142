"""One digest for one meaning."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perigee.identity.canonical import canonical_json, digest

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def as_floats(value: Any) -> Any:
    """Every whole number that a float holds exactly, written as a float."""
    if isinstance(value, dict):
        return {key: as_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(values)
def test_the_order_of_keys_and_the_spelling_of_numbers_mean_nothing(value: Any) -> None:
    assert digest(reordered(value)) == digest(value)
    assert digest(as_floats(value)) == digest(value)


@given(values, values)
def test_what_differs_has_another_canonical_form(one: Any, other: Any) -> None:
    # JSON with sorted keys, made independently, tells whether the two mean the same.
    def plain(value: Any) -> str:
        return json.dumps(as_floats(value), sort_keys=True).replace("-0.0", "0.0")

    assert (canonical_json(one) == canonical_json(other)) == (plain(one) == plain(other))


def test_a_truth_value_is_no_number() -> None:
    assert digest({"a": True}) != digest({"a": 1})


def test_the_order_of_lists_counts() -> None:
    assert digest([1, 2]) != digest([2, 1])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        digest({"learning_rate": number})


def test_what_has_no_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError, match="canonical form"):
        digest({1, 2})


def test_the_digest_is_stable() -> None:
    # By sha256sum of the text on the command line: a change of this breaks every stored path.
    assert canonical_json({"b": [1.0, 1e-3, None], "a": "ρ"}) == '{"a":"ρ","b":[1,0.001,null]}'
    assert digest({"b": [1.0, 1e-3, None], "a": "ρ"}) == "37930fd26ddc1319"
