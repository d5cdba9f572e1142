"""The oracle support.tracing, which reads scale invariance off a network, against the loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from perigee.errors import PerigeeError
from support.invariance import Problem, assert_invariant, assert_none_is_missed, factors
from support.tracing import scale_invariant_names


class Residual(nn.Module):
    """BN(a(x) + b(BN(a(x)))): scaling a or b alone shifts the balance of the two summands."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.inner = nn.BatchNorm2d(3, affine=False)
        self.branch = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.outer = nn.BatchNorm2d(3, affine=False)
        self.head = nn.Linear(3, 2).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        summed = stem + self.branch(torch.relu(self.inner(stem)))
        return self.head(torch.relu(self.outer(summed)).amax(dim=(2, 3)))


class PooledResidual(Residual):
    """The same with modules only, whose behaviour under scaling is known."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        summed = stem + self.branch(torch.relu(self.inner(stem)))
        return self.head(self.pool(self.outer(summed)))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20), factor=factors)
def test_summands_of_a_residual_block_are_invariant_only_together(seed: int, factor: float) -> None:
    problem = Problem(PooledResidual(), (1, 6, 6), seed)
    names = scale_invariant_names(problem.model)
    assert names == ("stem.weight", "branch.weight")
    assert_invariant(problem, names, factor)
    loss = problem.loss().item()
    for name in names:
        assert abs(problem.loss_when_scaled([name], 1.7) - loss) > 1e-7 * loss


class UnequalResidual(PooledResidual):
    """BN(x + stem(x)): the images do not grow along with the weights."""

    def forward(self, images: Tensor) -> Tensor:
        grown = images + self.stem(images)
        normal = torch.relu(self.inner(grown))
        return self.head(self.pool(self.outer(self.branch(normal))))


def test_weights_whose_summand_does_not_grow_are_not_invariant() -> None:
    problem = Problem(UnequalResidual(), (1, 6, 6), 0)
    names = scale_invariant_names(problem.model)
    assert names == ("branch.weight",)
    assert_invariant(problem, names, 3.0)
    assert_none_is_missed(problem, names)


def test_weights_not_followed_by_normalisation_are_not_invariant() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 3, 3, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(3, 2, bias=False),
    )
    problem = Problem(model, (2, 6, 6), 0)
    names = scale_invariant_names(problem.model)
    assert names == ("0.weight",)
    assert_invariant(problem, names, 0.01)
    assert_none_is_missed(problem, names)


def test_two_linear_layers_before_one_normalisation_are_both_invariant() -> None:
    model = nn.Sequential(
        nn.Linear(5, 4, bias=False),
        nn.ReLU(),
        nn.Linear(4, 3, bias=False),
        nn.Identity(),
        nn.BatchNorm1d(3),
        nn.ReLU(),
        nn.Linear(3, 2),
    )
    problem = Problem(model, (5,), 1)
    names = scale_invariant_names(problem.model)
    assert names == ("0.weight", "2.weight")
    for chosen in (["0.weight"], ["2.weight"], names):
        assert_invariant(problem, chosen, 7.0)
    assert_none_is_missed(problem, names)


def test_a_bias_takes_its_layer_and_the_layers_before_out() -> None:
    # A ReLU stands between bias and normalisation; directly before it the bias would cancel.
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(2, 2, 3, bias=True),
        nn.ReLU(),
        nn.Conv2d(2, 2, 3, bias=False),
        nn.BatchNorm2d(2, affine=False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2, 2).requires_grad_(False),
    )
    problem = Problem(model, (1, 8, 8), 3)
    names = scale_invariant_names(problem.model)
    assert names == ("4.weight",)
    assert_invariant(problem, names, 0.2)
    assert_none_is_missed(problem, names)


def test_a_frozen_weight_is_not_named_and_does_not_count_as_growing() -> None:
    model = PooledResidual()
    model.stem.requires_grad_(False)
    # Only the branch trains, and it is added to a summand that stays as it is.
    assert scale_invariant_names(model) == ()

    chain = nn.Sequential(
        nn.Linear(4, 4, bias=False),
        nn.Linear(4, 4, bias=False),
        nn.BatchNorm1d(4, affine=False),
        nn.Linear(4, 2).requires_grad_(False),
    )
    chain[0].requires_grad_(False)
    problem = Problem(chain, (4,), 0)
    assert scale_invariant_names(problem.model) == ("1.weight",)
    assert_invariant(problem, ["1.weight"], 5.0)


def test_an_unknown_module_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid())
    with pytest.raises(PerigeeError, match=r"Sigmoid \('1'\).*not known; add it to .*\.py\."):
        scale_invariant_names(model)


def test_an_unknown_function_is_refused_by_name() -> None:
    # Residual takes the maximum over the pixels by a tensor method, of which nothing is known.
    with pytest.raises(PerigeeError, match=r"Residual: .*'call_method amax'.*not known"):
        scale_invariant_names(Residual())


def test_adding_a_constant_is_refused() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2, bias=False)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.linear(inputs) + 1.0

    with pytest.raises(PerigeeError, match="Shifted"):
        scale_invariant_names(Shifted())


def test_a_tied_weight_counts_wherever_it_is_used() -> None:
    model = nn.Sequential(
        nn.Linear(4, 4, bias=False),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Linear(4, 4, bias=False),
        nn.ReLU(),
        nn.Linear(4, 2).requires_grad_(False),
    )
    assert scale_invariant_names(model) == ("0.weight",)
    model[3].weight = model[0].weight
    problem = Problem(model, (4,), 0)
    assert scale_invariant_names(problem.model) == ()
    assert_none_is_missed(problem, ())


class SharedSummand(nn.Module):
    """BN(c(b(x)) + b(x)): b is a factor of both summands, c of one."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Linear(4, 4, bias=False)
        self.c = nn.Linear(4, 4, bias=False)
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.head = nn.Linear(4, 2).requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        before = self.b(images)
        return self.head(self.norm(self.c(before) + before))


def test_a_weight_that_both_summands_share_stays_invariant() -> None:
    problem = Problem(SharedSummand(), (4,), 0)
    names = scale_invariant_names(problem.model)
    assert names == ("b.weight",)
    assert_invariant(problem, names, 3.0)
    assert_none_is_missed(problem, names)
