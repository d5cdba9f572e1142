"""perigee.kernel.constraints: what a projection changes and what not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from perigee.errors import PerigeeError
from perigee.kernel.constraints.equal_filter_norms import EqualFilterNorms
from perigee.kernel.constraints.fixed_norm import FixedNorm
from perigee.kernel.constraints.none import Unconstrained
from perigee.kernel.flat import FlatParameters
from perigee.models.declaration import ScaleInvariantWeights
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


# Filter by filter


class Filters(nn.Module):
    """Five filters in two convolutions, and the scales of their normalisations."""

    NAMES = ("first.weight", "second.weight")

    def __init__(self, by_filter: tuple[str, ...] = NAMES) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, bias=False)
        self.normal = nn.BatchNorm2d(2)
        self.second = nn.Conv2d(2, 3, 1, bias=False)
        self.scale_invariant_weights = ScaleInvariantWeights(self.NAMES, by_filter)


def filters(
    seed: int, memory_format: torch.memory_format = torch.contiguous_format
) -> FlatParameters:
    """Those of `Filters`, drawn at random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Filters().double()
    return FlatParameters(model, memory_format)


def each_filter(parameters: FlatParameters) -> list[list[float]]:
    """The weights of every filter, in row-major order."""
    weights = parameters.strict(parameters.values)[: 2 * 9 + 3 * 2]
    return [*weights[:18].view(2, 9).tolist(), *weights[18:].view(3, 2).tolist()]


def norm(weights: list[float]) -> float:
    return sum(weight**2 for weight in weights) ** 0.5


@settings(max_examples=30)
@given(
    radius=st.floats(1e-3, 1e3),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    seed=seeds,
)
def test_equal_filter_norms_puts_every_filter_on_a_sphere_of_one_radius(
    radius: float, layout: torch.memory_format, seed: int
) -> None:
    parameters = filters(seed, layout)
    moved, others = each_filter(parameters), parameters.values[-4:].clone()
    constraint = EqualFilterNorms(parameters, norm=radius)
    for number in range(3):
        if number:
            generator = torch.Generator().manual_seed(seed + number)
            parameters.weights.add_(radius * torch.randn(24, generator=generator).double())
            moved = each_filter(parameters)
            constraint.apply(parameters)
        for weights, before in zip(each_filter(parameters), moved, strict=True):
            expected = [weight * radius / 5**0.5 / norm(before) for weight in before]
            assert weights == pytest.approx(expected, rel=1e-12)
        assert norm_of(parameters.weights) == pytest.approx(radius, rel=1e-12)
        assert torch.equal(parameters.values[-4:], others)


@settings(max_examples=30)
@given(seed=seeds, growth=st.floats(1e-2, 1e2))
def test_equal_filter_norms_without_a_norm_keeps_the_one_at_the_start(
    seed: int, growth: float
) -> None:
    parameters = filters(seed)
    whole = norm_of(parameters.weights)
    constraint = EqualFilterNorms(parameters, norm=None)
    assert norm_of(parameters.weights) == pytest.approx(whole, rel=1e-12)
    parameters.weights.mul_(growth)
    constraint.apply(parameters)
    norms = [norm(weights) for weights in each_filter(parameters)]
    assert norms == pytest.approx([whole / 5**0.5] * 5, rel=1e-12)


def test_the_radius_is_the_state_of_equal_filter_norms_too() -> None:
    first, second = filters(0), filters(0)
    second.weights.mul_(3)
    kept = EqualFilterNorms(first, norm=None).state
    other = EqualFilterNorms(second, norm=None)
    assert list(kept) == ["radius"]
    other.state["radius"].copy_(kept["radius"])
    other.apply(second)
    torch.testing.assert_close(second.weights, first.weights, rtol=1e-12, atol=0)


@pytest.mark.parametrize("by_filter", [(), ("first.weight",)])
def test_weights_that_are_invariant_only_together_have_no_norms_of_filters(
    by_filter: tuple[str, ...],
) -> None:
    with pytest.raises(PerigeeError, match="networks whose filters are all scale-invariant by"):
        EqualFilterNorms(FlatParameters(Filters(by_filter)), norm=None)
