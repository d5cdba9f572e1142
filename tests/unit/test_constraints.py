"""perigee.kernel.constraints: what a projection changes and what not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from perigee.kernel.constraints.fixed_norm import FixedNorm
from perigee.kernel.constraints.none import Unconstrained
from perigee.kernel.flat import FlatParameters
from support.vectors import flat, groups, seeds, targets

WEIGHTS = groups["scale_invariant"]


def vector(seed: int) -> Tensor:
    return targets(seed, 0)[0]


def norm_of(weights: Tensor) -> float:
    return float(weights.double().pow(2).sum()) ** 0.5


def assert_others_stay(parameters: FlatParameters, before: Tensor) -> None:
    assert torch.equal(parameters.values[WEIGHTS.stop :], before[WEIGHTS.stop :])


@settings(max_examples=30)
@given(norm=st.floats(1e-3, 1e3), seed=seeds)
def test_fixed_norm_puts_weights_on_the_sphere_at_once_and_after_every_step(
    norm: float, seed: int
) -> None:
    parameters = flat(vector(seed))
    constraint = FixedNorm(parameters, norm=norm)
    for number in range(3):
        moved = vector(seed) if number == 0 else parameters.values + norm * vector(seed + number)
        if number:
            parameters.values.copy_(moved)
            constraint.apply(parameters)
        direction = moved[WEIGHTS] / norm_of(moved[WEIGHTS])
        torch.testing.assert_close(parameters.weights, norm * direction, rtol=1e-12, atol=0)
        assert_others_stay(parameters, moved)


@settings(max_examples=30)
@given(seed=seeds, growth=st.floats(1e-2, 1e2))
def test_fixed_norm_without_a_norm_keeps_the_one_at_the_start(seed: int, growth: float) -> None:
    parameters = flat(vector(seed))
    constraint = FixedNorm(parameters, norm=None)
    torch.testing.assert_close(parameters.values, vector(seed), rtol=1e-15, atol=0)
    parameters.weights.mul_(growth)
    constraint.apply(parameters)
    torch.testing.assert_close(parameters.values, vector(seed), rtol=1e-12, atol=0)


def test_the_radius_is_the_state() -> None:
    first, second = flat(vector(0)), flat(3 * vector(0))
    kept = FixedNorm(first, norm=None).state["radius"]
    assert float(kept) == pytest.approx(norm_of(vector(0)[WEIGHTS]))
    other = FixedNorm(second, norm=None)
    other.state["radius"].copy_(kept)
    other.apply(second)
    torch.testing.assert_close(second.weights, first.weights, rtol=1e-12, atol=0)


def test_unconstrained_leaves_the_weights_alone() -> None:
    parameters = flat(vector(0))
    constraint = Unconstrained(parameters)
    constraint.apply(parameters)
    assert torch.equal(parameters.values, vector(0))
    assert constraint.state == {}
