"""perigee.training.flat: the network's parameters are the two vectors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from perigee.models import convnet
from perigee.training.flat import FlatParameters


def network(scale_invariant: bool) -> nn.Module:
    return convnet.build(
        (1, 8, 8), 5, 0, width=1, scale_invariant=scale_invariant, head_norm=10.0
    ).double()


@pytest.fixture(params=[True, False], ids=["scale-invariant", "standard"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return network(request.param)


def images_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((6, 1, 8, 8), generator=generator, dtype=torch.float64)
    return images, torch.randint(5, (6,), generator=generator)


def test_weights_come_first_then_the_other_trained_parameters(model: nn.Module) -> None:
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    flat = FlatParameters(model)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    kernels = [name for name in trained if before[name].dim() == 4]
    others = [name for name in trained if before[name].dim() != 4]
    assert flat.weight_names == tuple(kernels)
    assert flat.names == (*kernels, *others)
    expected = torch.cat([before[name].flatten() for name in (*kernels, *others)])
    assert torch.equal(flat.values, expected)
    assert flat.weights.shape == (sum(before[name].numel() for name in kernels),)
    assert torch.equal(flat.weights, expected[: len(flat.weights)])
    # The network is the same as before.
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name])


def test_parameters_are_views_of_the_vector(model: nn.Module) -> None:
    flat = FlatParameters(model)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    flat.values.copy_(torch.arange(flat.values.numel()))
    parameters = dict(model.named_parameters())
    start = 0
    for name in flat.names:
        count = parameters[name].numel()
        expected = torch.arange(start, start + count).double()
        assert torch.equal(parameters[name].detach().flatten(), expected)
        start += count
    assert start == flat.values.numel()
    # Also the other way round, as when a state is loaded.
    model.load_state_dict({n: torch.full_like(v, 2) for n, v in model.state_dict().items()})
    assert torch.equal(flat.values, torch.full_like(flat.values, 2))
    assert torch.equal(flat.weights, torch.full_like(flat.weights, 2))
    assert all((parameters[name] == 2).all() for name in frozen)


def test_gradients_add_up_in_the_vector(model: nn.Module) -> None:
    images, labels = images_and_labels()
    plain = {n: p for n, p in model.named_parameters() if p.requires_grad}
    loss = functional.cross_entropy(model(images), labels)
    expected = dict(zip(plain, torch.autograd.grad(loss, list(plain.values())), strict=True))

    flat = FlatParameters(model)
    assert not flat.gradient.any()
    for times in (1, 2):
        functional.cross_entropy(model(images), labels).backward()
        whole = torch.cat([expected[name].flatten() for name in flat.names])
        torch.testing.assert_close(flat.gradient, times * whole, rtol=1e-12, atol=1e-14)
        part = torch.cat([expected[name].flatten() for name in flat.weight_names])
        torch.testing.assert_close(flat.weights_gradient, times * part, rtol=1e-12, atol=1e-14)


def test_frozen_parameters_are_not_part(model: nn.Module) -> None:
    flat = FlatParameters(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert flat.values.numel() == flat.gradient.numel() == trained
    assert not {n for n, p in model.named_parameters() if not p.requires_grad} & set(flat.names)


def test_a_network_without_scale_invariant_weights() -> None:
    flat = FlatParameters(nn.Sequential(nn.Linear(2, 3)))
    assert flat.weight_names == ()
    assert flat.weights.numel() == flat.weights_gradient.numel() == 0
    assert flat.values.numel() == 9
