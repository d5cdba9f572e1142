"""perigee.training.norm_control: what a projection changes and what not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perigee.training.norm_control import fixed, free

seeds = st.integers(0, 2**31)


def vector(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, generator=generator, dtype=torch.float64).to(dtype)


def norm_of(weights: torch.Tensor) -> float:
    return float(weights.double().pow(2).sum()) ** 0.5


@settings(max_examples=30)
@given(norm=st.floats(1e-3, 1e3), seed=seeds)
def test_fixed_puts_weights_on_the_sphere_at_once_and_after_every_step(
    norm: float, seed: int
) -> None:
    weights = vector(seed)
    direction = weights / norm_of(weights)
    project = fixed.build(weights, norm=norm)
    torch.testing.assert_close(weights, norm * direction, rtol=1e-12, atol=0)

    moved = weights + norm * vector(seed + 1)
    direction = moved / norm_of(moved)
    project(moved)
    torch.testing.assert_close(moved, norm * direction, rtol=1e-12, atol=0)


@settings(max_examples=30)
@given(seed=seeds, growth=st.floats(1e-2, 1e2))
def test_fixed_without_a_norm_keeps_the_initial_one(seed: int, growth: float) -> None:
    weights = vector(seed)
    initial = weights.clone()
    project = fixed.build(weights, norm=None)
    assert torch.equal(weights, initial)
    weights.mul_(growth)
    project(weights)
    torch.testing.assert_close(weights, initial, rtol=1e-12, atol=0)


def test_fixed_works_in_place_so_that_views_follow() -> None:
    whole = vector(0, torch.float32)
    fixed.build(whole[:4], norm=2.0)
    assert norm_of(whole[:4]) == pytest.approx(2, rel=1e-6)
    assert torch.equal(whole[4:], vector(0, torch.float32)[4:])


def test_free_leaves_the_weights_alone() -> None:
    weights = vector(0)
    project = free.build(weights)
    project(weights)
    assert torch.equal(weights, vector(0))
