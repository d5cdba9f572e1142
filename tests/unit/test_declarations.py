"""The models' declarations are true and complete, or refused before training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from perigee import registry
from perigee.blocks.models import Model
from perigee.errors import PerigeeError
from perigee.models.declaration import ScaleInvariantWeights, declared_weights
from perigee.models.proof import prove_declaration
from support.invariance import Problem, assert_invariant, assert_none_is_missed
from support.tracing import scale_invariant_names

SHAPES = ((1, 8, 8), (3, 16, 16))
TRACED = sorted(name for name, one in registry.REGISTRY["model"].items() if issubclass(one, Model))
"""A network that `torch.fx` cannot read is left out here, with a numerical check of its own."""


def built(name: str, shape: tuple[int, int, int], width: int, scale_invariant: bool) -> nn.Module:
    block = registry.make(
        "model", {"name": name, "width": width, "scale_invariant": scale_invariant}
    )
    model: nn.Module = registry.load(block)(shape, 4, 0, **block.parameters)
    return model


def models() -> Iterator[tuple[str, tuple[int, int, int], int, bool]]:
    yield from product(TRACED, SHAPES, (1, 2, 3), (True, False))


@pytest.mark.parametrize(("name", "shape", "width", "scale_invariant"), list(models()))
def test_a_registered_model_declares_what_the_oracle_finds(
    name: str, shape: tuple[int, int, int], width: int, scale_invariant: bool
) -> None:
    model = built(name, shape, width, scale_invariant)
    declared = declared_weights(model)
    assert declared.names == scale_invariant_names(model)
    assert set(declared.by_filter) <= set(declared.names)
    if scale_invariant:
        assert set(declared.names) == {n for n, p in model.named_parameters() if p.requires_grad}
    prove_declaration(model, shape)


@pytest.mark.parametrize("scale_invariant", [True, False])
@pytest.mark.parametrize("name", TRACED)
def test_the_loss_confirms_it(name: str, scale_invariant: bool) -> None:
    """Scaling leaves it, the gradient is orthogonal and inversely scaled, no weight is missed."""
    problem = Problem(built(name, SHAPES[1], 2, scale_invariant), SHAPES[1], 0)
    declared = declared_weights(problem.model)
    assert_invariant(problem, declared.names, 0.03)
    assert_none_is_missed(problem, declared.names)
    for weight in declared.by_filter:
        assert_invariant(problem, [weight], 3.0)


@pytest.mark.parametrize("scale_invariant", [True, False])
@pytest.mark.parametrize("name", TRACED)
def test_exactly_the_filters_declared_are_invariant_alone(name: str, scale_invariant: bool) -> None:
    problem = Problem(built(name, SHAPES[1], 2, scale_invariant), SHAPES[1], 0)
    declared = declared_weights(problem.model)
    loss = problem.loss().item()
    for weight in declared.names:
        with torch.no_grad():
            kernel = problem.parameters[weight]
            kept = kernel.clone()
            kernel[0].mul_(1.7)
            moved = abs(problem.loss().item() - loss)
            kernel.copy_(kept)
        assert (moved < 1e-12 * loss) == (weight in declared.by_filter), weight


# Declarations that are wrong


class Network(nn.Module):
    """conv, BN with location and scale, ReLU, then twice a conv whose results are added; BN; head.

    ``first`` is invariant filter by filter, ``second`` and ``third`` only together.
    """

    TRUE = ScaleInvariantWeights(
        ("first.weight", "second.weight", "third.weight"), ("first.weight",)
    )

    def __init__(self, declared: ScaleInvariantWeights) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.inner = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.third = nn.Conv2d(3, 4, 1, bias=False)
        self.outer = nn.BatchNorm2d(4)
        self.unnormalised = nn.Conv2d(4, 4, 3, bias=False)
        self.frozen = nn.Linear(4, 5).requires_grad_(False)
        self.scale_invariant_weights = declared

    def forward(self, images: Tensor) -> Tensor:
        active = torch.relu(self.inner(self.first(images)))
        summed = torch.relu(self.outer(self.second(active) + self.third(active)))
        maps: Tensor = self.unnormalised(summed)
        logits: Tensor = self.frozen(functional.relu(maps).mean(dim=(2, 3)))
        return logits


IMAGE = (1, 6, 6)


def test_the_true_declaration_is_proven_and_the_network_left_as_it_is() -> None:
    network = Network(Network.TRUE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    network.eval()
    prove_declaration(network, IMAGE)
    assert not network.training
    assert network.outer.eps == 1e-5
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("names", "by_filter", "told"),
    [
        # Weights that no normalisation follows, or that are added to others.
        (
            ("first", "second", "third", "unnormalised"),
            ("first",),
            "'unnormalised.weight' .*togeth",
        ),
        (("first", "second"), (), "'second.weight' .*together"),
        (("third", "first"), (), "'third.weight' .*together"),
        (("first", "second", "third"), ("second",), "'second.weight' .*filter by filter"),
        (("first", "second", "third"), ("first", "third"), "'third.weight' .*filter by filter"),
        # At its initialisation a BatchNorm's location is zero, and its scale would seem invariant.
        (("first", "inner"), (), "'inner.weight' .*together"),
        # What does not train, or does not exist.
        (("first", "frozen"), (), "'frozen.weight' .*not among its trained"),
        (("first", "fourth"), (), "'fourth.weight' .*not among its trained"),
        (("second", "third"), ("first",), "'first.weight' .*filter by filter, but not at all"),
    ],
)
def test_a_wrong_declaration_is_refused_by_the_weights_name(
    names: tuple[str, ...], by_filter: tuple[str, ...], told: str
) -> None:
    declared = ScaleInvariantWeights(
        tuple(f"{name}.weight" for name in names), tuple(f"{name}.weight" for name in by_filter)
    )
    with pytest.raises(PerigeeError, match=f"Network declares {told}.*mend the model's"):
        prove_declaration(Network(declared), IMAGE)


def test_several_wrong_ones_are_all_named() -> None:
    declared = ScaleInvariantWeights(("first.weight", "inner.weight", "unnormalised.weight"))
    with pytest.raises(PerigeeError, match=r"'.*inner\.weight, unnormalised\.weight'"):
        prove_declaration(Network(declared), IMAGE)


class NotANumber(Network):
    """Overflows when its weights grow."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (2 / (self.first.weight.abs().max() < 0.4))


def test_an_output_that_is_not_a_number_is_no_proof() -> None:
    network = NotANumber(Network.TRUE)
    with torch.no_grad():
        network.first.weight.clamp_(-0.3, 0.3)
        network.first.weight[0, 0, 0, 0] = 0.3
    with pytest.raises(PerigeeError, match=r"'first\.weight'"):
        prove_declaration(network, IMAGE)


def test_a_network_without_invariant_weights_has_nothing_to_prove() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 5))
    network.scale_invariant_weights = ScaleInvariantWeights()
    prove_declaration(network, IMAGE)


def test_a_network_that_declares_nothing_is_refused() -> None:
    with pytest.raises(PerigeeError, match="Sequential does not declare"):
        prove_declaration(nn.Sequential(nn.Flatten(), nn.Linear(36, 5)), IMAGE)
