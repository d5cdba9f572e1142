"""perigee.models.convnet and head against the network written out in functions."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from perigee.errors import PerigeeError
from perigee.models import convnet
from perigee.models.head import freeze_head, redraw_head
from support.reference_training import plain_network

sizes = st.sampled_from([(1, 8, 8), (3, 12, 12), (1, 16, 16), (3, 9, 14)])
EPSILON = 1e-5


def written_out(model: nn.Module, images: Tensor) -> Tensor:
    """The network in train mode as a formula of its tensors, taken in the order of their ranks."""
    tensors = [parameter for _, parameter in model.named_parameters()]
    kernels = [tensor for tensor in tensors if tensor.dim() == 4]
    matrix = next(tensor for tensor in tensors if tensor.dim() == 2)
    vectors = [tensor for tensor in tensors if tensor.dim() == 1]
    *affine, head_bias = vectors
    assert len(kernels) == 4
    activations = images
    for number, kernel in enumerate(kernels):
        activations = functional.conv2d(activations, kernel, padding=1)
        mean = activations.mean(dim=(0, 2, 3), keepdim=True)
        variance = ((activations - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
        activations = (activations - mean) / torch.sqrt(variance + EPSILON)
        if affine:
            scale, location = affine[2 * number], affine[2 * number + 1]
            activations = activations * scale.view(1, -1, 1, 1) + location.view(1, -1, 1, 1)
        activations = activations.clamp(min=0)
        if number > 0:
            activations = functional.max_pool2d(activations, 2)
    return activations.amax(dim=(2, 3)) @ matrix.T + head_bias


@settings(max_examples=20)
@given(
    shape=sizes,
    width=st.integers(1, 4),
    classes=st.integers(2, 10),
    scale_invariant=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_logits_are_those_of_the_network_written_out(
    shape: tuple[int, int, int], width: int, classes: int, scale_invariant: bool, seed: int
) -> None:
    model = convnet.build(
        shape,
        classes,
        seed,
        width=width,
        scale_invariant=scale_invariant,
        head_norm=10.0,
        head_seed=None,
    ).double()
    generator = torch.Generator().manual_seed(seed)
    if not scale_invariant:  # scale 1 and location 0, as initialised, would hide a mix-up
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.data = torch.randn(parameter.shape, generator=generator).double()
    images = torch.randn((5, *shape), generator=generator).double()
    expected = written_out(model, images)
    assert expected.shape == (5, classes)
    torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=20)
@given(
    shape=sizes,
    width=st.integers(1, 4),
    scale_invariant=st.booleans(),
    head_norm=st.sampled_from([10.0, 0.5]),
    seed=st.integers(0, 2**31),
)
def test_initialisation_is_that_of_plain_modules_built_in_the_same_order(
    shape: tuple[int, int, int], width: int, scale_invariant: bool, head_norm: float, seed: int
) -> None:
    model = convnet.build(
        shape,
        7,
        seed,
        width=width,
        scale_invariant=scale_invariant,
        head_norm=head_norm,
        head_seed=None,
    )
    # The standard version of the plain network, whose head is not rescaled.
    plain = plain_network(shape[0], 7, width, scale_invariant=False, seed=seed)
    drawn = [p for p in plain.parameters() if p.dim() == 4]
    built = [p for p in model.parameters() if p.dim() == 4]
    assert all(torch.equal(one, other) for one, other in zip(built, drawn, strict=True))

    *_, weight, bias = model.parameters()
    *_, drawn_weight, drawn_bias = plain.parameters()
    assert torch.equal(bias, drawn_bias)
    if scale_invariant:
        assert float(weight.double().norm()) == pytest.approx(head_norm, rel=1e-6)
        direction = functional.cosine_similarity(weight.flatten(), drawn_weight.flatten(), dim=0)
        assert direction.item() == pytest.approx(1, abs=1e-6)
    else:
        assert torch.equal(weight, drawn_weight)


def test_what_trains_in_either_version() -> None:
    def trained(scale_invariant: bool) -> list[int]:
        model = convnet.build(
            (1, 8, 8),
            10,
            0,
            width=2,
            scale_invariant=scale_invariant,
            head_norm=10.0,
            head_seed=None,
        )
        return [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]

    kernels = [9 * 2, 9 * 2 * 4, 9 * 4 * 8, 9 * 8 * 16]
    assert trained(True) == kernels
    blocks = [(kernel, width, width) for kernel, width in zip(kernels, (2, 4, 8, 16), strict=True)]
    assert trained(False) == [*chain(*blocks), 16 * 10, 10]


@pytest.mark.parametrize("sides", [(7, 8), (8, 7), (4, 4), (1, 32)])
def test_too_small_images_are_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(PerigeeError, match=f"at least 8x8 pixels.*{sides[0]}x{sides[1]}"):
        convnet.build(
            (1, *sides), 10, 0, width=1, scale_invariant=True, head_norm=10.0, head_seed=None
        )


def test_the_global_random_state_neither_changes_nor_matters() -> None:
    def weights() -> Tensor:
        model = convnet.build(
            (1, 8, 8), 10, 5, width=1, scale_invariant=True, head_norm=10.0, head_seed=None
        )
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = weights()
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        assert torch.equal(weights(), first)


def test_seeds_give_different_networks() -> None:
    first, second = (
        convnet.build(
            (1, 8, 8), 10, seed, width=1, scale_invariant=True, head_norm=10.0, head_seed=None
        )
        for seed in (0, 1)
    )
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert not any(torch.equal(one, other) for one, other in pairs)


@settings(max_examples=20)
@given(norm=st.floats(1e-3, 1e3), bias=st.booleans(), seed=st.integers(0, 2**31))
def test_frozen_head_has_the_norm_and_keeps_direction_and_bias(
    norm: float, bias: bool, seed: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(3, 4, bias=bias, dtype=torch.float64)
    before = {name: value.detach().clone() for name, value in head.named_parameters()}
    freeze_head(head, norm)
    expected = before["weight"] / torch.sqrt((before["weight"] ** 2).sum()) * norm
    torch.testing.assert_close(head.weight.detach(), expected, rtol=1e-12, atol=0)
    if bias:
        assert torch.equal(head.bias, before["bias"])
    assert not any(parameter.requires_grad for parameter in head.parameters())


@settings(max_examples=20)
@given(bias=st.booleans(), seed=st.integers(0, 2**31))
def test_a_head_is_drawn_anew_from_its_own_seed(bias: bool, seed: int) -> None:
    head = nn.Linear(3, 4, bias=bias)
    state = torch.get_rng_state()
    redraw_head(head, seed)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = nn.Linear(3, 4, bias=bias)
    pairs = zip(head.parameters(), drawn.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_head_without_a_seed_of_its_own_stays() -> None:
    head = nn.Linear(3, 4)
    before = head.weight.detach().clone()
    redraw_head(head, None)
    assert torch.equal(head.weight, before)
