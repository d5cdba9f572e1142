"""perigee.models.resnet18 against a network of flat lists of layers, and its scale invariance."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from perigee.models import resnet18
from perigee.models.declaration import declared_weights
from support.invariance import Problem, assert_invariant, assert_none_is_missed, factors
from support.reference_training import HEAD_NORM, plain_resnet18

shapes = st.tuples(st.sampled_from([1, 3]), st.integers(5, 20), st.integers(5, 20))
seeds = st.integers(0, 2**20)


def built(
    shape: tuple[int, int, int] = (3, 8, 8),
    classes: int = 10,
    seed: int = 0,
    width: int = 1,
    scale_invariant: bool = True,
    head_norm: float = HEAD_NORM,
) -> nn.Module:
    return resnet18.build(
        shape,
        classes,
        seed,
        width=width,
        scale_invariant=scale_invariant,
        head_norm=head_norm,
        head_seed=None,
    )


def in_blocks(model: nn.Module, kind: str) -> list[str]:
    """Convolutions in the order of the network: "first" and "second" of blocks, or "shortcut"."""
    kernels = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    stem, *others = kernels
    if kind == "stem":
        return [f"{stem}.weight"]
    if kind == "shortcut":
        return [f"{name}.weight" for name in others if kernels[name].kernel_size == (1, 1)]
    chosen = [name for name in others if kernels[name].kernel_size == (3, 3)]
    return [f"{name}.weight" for name in chosen[0 if kind == "first" else 1 :: 2]]


@settings(max_examples=20)
@given(
    shape=shapes,
    width=st.integers(1, 3),
    classes=st.integers(2, 10),
    scale_invariant=st.booleans(),
    seed=seeds,
)
def test_logits_are_those_of_the_plain_network_of_the_same_seed(
    shape: tuple[int, int, int], width: int, classes: int, scale_invariant: bool, seed: int
) -> None:
    model = built(shape, classes, seed, width, scale_invariant).double()
    plain = plain_resnet18(shape[0], classes, width, scale_invariant, seed).double()
    images = torch.randn((5, *shape), generator=torch.Generator().manual_seed(seed)).double()
    for network in (model, plain):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-2  # five pixels in the last maps may be all but equal
    found, expected = model(images), plain(images)
    assert found.shape == (5, classes)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_at_the_standard_width_the_numbers_of_weights_are_the_well_known_ones() -> None:
    kernels = [p.numel() for p in built(width=64).parameters() if p.requires_grad]
    standard = torchvision.models.resnet18(num_classes=10)
    known = [p.numel() for p in standard.parameters() if p.dim() == 4]
    # ImageNet's has a stem of 7x7, else the same convolutions.
    stem, *others = known
    assert stem == 64 * 3 * 7 * 7
    assert sorted(kernels) == sorted([64 * 3 * 3 * 3, *others])
    assert sum(kernels) == 11_159_232
    # Location and scale of the BatchNorms by stage, those before shortcuts, the last, and the head.
    normal = 2 * (4 * 64 + (64 + 3 * 128) + (128 + 3 * 256) + (256 + 3 * 512) + 512)
    normal += 2 * (64 + 128 + 256)
    trained = sum(p.numel() for p in built(width=64, scale_invariant=False).parameters())
    assert trained == 11_159_232 + normal + 512 * 10


@settings(max_examples=20)
@given(width=st.integers(1, 5), channels=st.integers(1, 4), classes=st.integers(2, 12))
def test_what_trains_in_either_version(width: int, channels: int, classes: int) -> None:
    def trained(scale_invariant: bool) -> dict[int, int]:
        model = built((channels, 8, 8), classes, 0, width, scale_invariant)
        sizes: dict[int, int] = {}
        for parameter in model.parameters():
            if parameter.requires_grad:
                sizes[parameter.dim()] = sizes.get(parameter.dim(), 0) + parameter.numel()
        return sizes

    k = width
    shortcuts = k * 2 * k + 2 * k * 4 * k + 4 * k * 8 * k
    firsts = 9 * (2 * k * k + 2 * k * (k + 2 * k) + 4 * k * (2 * k + 4 * k) + 8 * k * 12 * k)
    seconds = 9 * 2 * (k**2 + (2 * k) ** 2 + (4 * k) ** 2 + (8 * k) ** 2)
    kernels = 9 * channels * k + firsts + seconds + shortcuts
    assert trained(True) == {4: kernels}
    normal = 2 * (4 * k + (k + 6 * k) + (2 * k + 12 * k) + (4 * k + 24 * k) + 8 * k)
    normal += 2 * (k + 2 * k + 4 * k)
    assert trained(False) == {4: kernels, 1: normal, 2: 8 * k * classes}


def test_both_versions_have_a_batch_norm_before_each_shortcut() -> None:
    def channels(scale_invariant: bool) -> list[int]:
        model = built(width=2, scale_invariant=scale_invariant)
        found = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all(module.affine != scale_invariant for module in found)
        return [module.num_features for module in found]

    stages = [[2] * 4, [2, 2, 4, 4, 4], [4, 4, 8, 8, 8], [8, 8, 16, 16, 16], [16]]
    assert sorted(channels(True)) == sorted(n for stage in stages for n in stage)
    assert channels(False) == channels(True)


@settings(max_examples=10)
@given(head_norm=st.floats(0.1, 100), seed=seeds)
def test_the_frozen_head_has_the_norm_asked_for(head_norm: float, seed: int) -> None:
    frozen = [p for p in built(seed=seed, head_norm=head_norm).parameters() if not p.requires_grad]
    (head,) = frozen
    assert float(head.double().norm()) == pytest.approx(head_norm, rel=1e-6)
    plain = plain_resnet18(3, 10, 1, False, seed).head.weight
    direction = nn.functional.cosine_similarity(head.flatten(), plain.flatten(), dim=0)
    assert direction.item() == pytest.approx(1, abs=1e-6)
    (standard,) = (p for p in built(seed=seed, scale_invariant=False).parameters() if p.dim() == 2)
    assert torch.equal(standard, plain)


def test_the_global_random_state_neither_changes_nor_matters() -> None:
    def weights(seed: int) -> Tensor:
        return torch.cat(
            [parameter.detach().flatten() for parameter in built(seed=seed).parameters()]
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = weights(5)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        assert torch.equal(weights(5), first)
        assert not torch.equal(weights(6), first)


@settings(max_examples=20)
@given(
    channels=st.sampled_from([1, 3]),
    sides=st.sampled_from([(8, 8), (12, 12), (9, 14), (16, 16)]),
    width=st.integers(1, 3),
    scale_invariant=st.booleans(),
    seed=seeds,
    factor=factors,
)
def test_convolutions_are_invariant_together_and_none_is_missed(
    channels: int,
    sides: tuple[int, int],
    width: int,
    scale_invariant: bool,
    seed: int,
    factor: float,
) -> None:
    shape = (channels, *sides)
    model = built(shape, 4, seed, width, scale_invariant)
    problem = Problem(model, shape, seed)
    names = declared_weights(problem.model).names
    assert set(names) == {name for name, p in model.named_parameters() if p.dim() == 4}
    assert_invariant(problem, names, factor)
    assert_none_is_missed(problem, names)
    if scale_invariant:
        assert set(names) == set(problem.trained)


def stages(model: nn.Module) -> list[list[str]]:
    """For each stage, the convolutions that it adds up: that of its input and the second ones."""
    inputs = [*in_blocks(model, "stem"), *in_blocks(model, "shortcut")]
    second = in_blocks(model, "second")
    return [[first, *second[2 * n : 2 * n + 2]] for n, first in enumerate(inputs)]


@settings(max_examples=10)
@given(width=st.integers(1, 3), seed=seeds, factor=factors)
def test_which_convolutions_are_invariant_alone_and_which_by_stage(
    width: int, seed: int, factor: float
) -> None:
    model = built((3, 16, 16), 4, seed, width)
    problem = Problem(model, (3, 16, 16), seed)
    assert declared_weights(model).by_filter == tuple(in_blocks(model, "first"))
    groups: list[Sequence[str]] = [[name] for name in in_blocks(model, "first")]
    groups += stages(model)
    assert sorted(name for group in groups for name in group) == sorted(problem.trained)
    for group in groups:
        assert_invariant(problem, group, factor)
    loss = problem.loss().item()
    for group in stages(model):
        for name in group:
            assert abs(problem.loss_when_scaled([name], 1.7) - loss) > 1e-7 * loss, name
