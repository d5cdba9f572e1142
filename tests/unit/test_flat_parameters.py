"""perigee.kernel.flat: the network's parameters are the two vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from perigee.errors import PerigeeError
from perigee.kernel.batch_norm import synchronise
from perigee.kernel.flat import FlatParameters
from perigee.kernel.ranks import Ranks
from perigee.models import convnet, resnet18
from perigee.models.declaration import ScaleInvariantWeights

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def network(scale_invariant: bool) -> nn.Module:
    return convnet.build(
        (1, 8, 8), 5, 0, width=1, scale_invariant=scale_invariant, head_norm=10.0, head_seed=None
    ).double()


@pytest.fixture(params=[True, False], ids=["scale-invariant", "standard"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return network(request.param)


@pytest.fixture(params=LAYOUTS, ids=["contiguous", "channels-last"])
def layout(request: pytest.FixtureRequest) -> torch.memory_format:
    return request.param


def in_layout(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    """The numbers of a tensor as they lie in memory in a layout."""
    if layout == torch.channels_last and tensor.dim() == 4:
        tensor = tensor.movedim(1, 3)
    return tensor.reshape(-1)


def images_and_labels() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((6, 1, 8, 8), generator=generator, dtype=torch.float64)
    return images, torch.randint(5, (6,), generator=generator)


def test_weights_come_first_then_the_other_trained_parameters(
    model: nn.Module, layout: torch.memory_format
) -> None:
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    flat = FlatParameters(model, layout)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    kernels = [name for name in trained if before[name].dim() == 4]
    others = [name for name in trained if before[name].dim() != 4]
    assert flat.weight_names == tuple(kernels)
    assert flat.names == (*kernels, *others)
    assert flat.lengths == tuple(before[name].numel() for name in flat.names)
    expected = torch.cat([in_layout(before[name], layout) for name in (*kernels, *others)])
    assert torch.equal(flat.values, expected)
    assert flat.weights.shape == (sum(before[name].numel() for name in kernels),)
    assert torch.equal(flat.weights, expected[: len(flat.weights)])
    # The network is the same as before, but for its layout.
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name])
        if value.dim() == 4 and value.requires_grad:
            assert value.is_contiguous(memory_format=layout)
            assert value.grad is not None
            assert value.grad.stride() == value.stride()


def test_parameters_are_views_of_the_vector(model: nn.Module, layout: torch.memory_format) -> None:
    flat = FlatParameters(model, layout)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    flat.values.copy_(torch.arange(flat.values.numel()))
    parameters = dict(model.named_parameters())
    start = 0
    for name in flat.names:
        count = parameters[name].numel()
        expected = torch.arange(start, start + count).double()
        assert torch.equal(in_layout(parameters[name].detach(), layout), expected)
        start += count
    assert start == flat.values.numel()
    # Also the other way round, as when a state is loaded.
    model.load_state_dict({n: torch.full_like(v, 2) for n, v in model.state_dict().items()})
    assert torch.equal(flat.values, torch.full_like(flat.values, 2))
    assert torch.equal(flat.weights, torch.full_like(flat.weights, 2))
    assert all((parameters[name] == 2).all() for name in frozen)


def test_gradients_add_up_in_the_vector(model: nn.Module, layout: torch.memory_format) -> None:
    images, labels = images_and_labels()
    plain = {n: p for n, p in model.named_parameters() if p.requires_grad}
    loss = functional.cross_entropy(model(images), labels)
    expected = dict(zip(plain, torch.autograd.grad(loss, list(plain.values())), strict=True))

    flat = FlatParameters(model, layout)
    assert not flat.gradient.any()
    for times in (1, 2):
        functional.cross_entropy(model(images), labels).backward()
        whole = torch.cat([in_layout(expected[name], layout) for name in flat.names])
        torch.testing.assert_close(flat.gradient, times * whole, rtol=1e-12, atol=1e-14)
        part = whole[: len(flat.weights)]
        torch.testing.assert_close(flat.weights_gradient, times * part, rtol=1e-12, atol=1e-14)


def test_frozen_parameters_are_not_part(model: nn.Module) -> None:
    flat = FlatParameters(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert flat.values.numel() == flat.gradient.numel() == trained
    assert not {n for n, p in model.named_parameters() if not p.requires_grad} & set(flat.names)


# Groups


def standard_resnet() -> nn.Module:
    return resnet18.build(
        (1, 8, 8), 5, 0, width=1, scale_invariant=False, head_norm=10.0, head_seed=None
    )


@pytest.mark.parametrize("device", [None, "cpu", "cuda"])
def test_every_parameter_belongs_to_a_group_also_where_processes_share_the_run(
    device: str | None,
) -> None:
    model = standard_resnet()
    expected = {}
    for prefix, module in model.named_modules():
        kind = {nn.Conv2d: "scale_invariant", nn.BatchNorm2d: "normalisation"}
        for name, _ in module.named_parameters(recurse=False):
            expected[f"{prefix}.{name}"] = kind.get(type(module), "other")
    if device is not None:
        synchronise(model, Ranks(0, 2), torch.device(device))
    flat = FlatParameters(model)
    assert dict(zip(flat.names, flat.groups, strict=True)) == expected
    assert set(expected.values()) == {"scale_invariant", "normalisation", "other"}


@pytest.mark.parametrize("kind", [nn.GroupNorm, nn.LayerNorm])
def test_other_normalisations_are_normalisations(kind: type[nn.Module]) -> None:
    normalisation = kind(1, 4) if kind is nn.GroupNorm else kind(4)
    model = nn.Sequential(nn.Linear(3, 4), normalisation)
    model.scale_invariant_weights = ScaleInvariantWeights(("0.weight",))
    flat = FlatParameters(model)
    assert flat.names == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert flat.groups == ("scale_invariant", "other", "normalisation", "normalisation")


@pytest.mark.parametrize("left_out", [(), ("normalisation",), ("other", "scale_invariant")])
def test_coefficients_are_zero_for_the_groups_left_out(left_out: tuple[str, ...]) -> None:
    flat = FlatParameters(network(scale_invariant=False))
    found = flat.coefficients(0.3, left_out)
    expected = [
        0.0 if group in left_out else 0.3
        for group, length in zip(flat.groups, flat.lengths, strict=True)
        for _ in range(length)
    ]
    assert found.dtype == torch.float64
    assert found.expand(len(flat.values)).tolist() == expected
    # Without exception one number is enough.
    assert (found.dim() == 0) == (not left_out)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(PerigeeError, match=r"'optimiser.undecayed' names 'bias'.*known are scale_"):
        FlatParameters(network(True)).coefficients(0.1, ["bias"])


# Declarations


def declaring(names: tuple[str, ...]) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3).requires_grad_(False))
    model.scale_invariant_weights = ScaleInvariantWeights(names)
    return model


def test_a_network_without_scale_invariant_weights() -> None:
    flat = FlatParameters(declaring(()))
    assert flat.weight_names == ()
    assert flat.weights.numel() == flat.weights_gradient.numel() == 0
    assert flat.values.numel() == 9


@pytest.mark.parametrize("name", ["1.weight", "2.weight"])
def test_a_declared_weight_that_does_not_train_is_refused(name: str) -> None:
    with pytest.raises(
        PerigeeError, match=f"Sequential declares '{name}' .* not among its trained"
    ):
        FlatParameters(declaring(("0.weight", name)))


def test_a_network_that_declares_nothing_is_refused() -> None:
    with pytest.raises(PerigeeError, match="Sequential does not declare"):
        FlatParameters(nn.Sequential(nn.Linear(2, 3)))


def test_a_network_without_trained_parameters_is_refused() -> None:
    with pytest.raises(PerigeeError, match="Sequential has no parameter that trains"):
        FlatParameters(declaring(()).requires_grad_(False))
