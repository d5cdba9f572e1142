"""perigee.models.post_activation_resnet against torchvision's networks, and its declaration."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from perigee.models.declaration import declared_weights
from perigee.models.post_activation_resnet import PostActivationResNet, build
from perigee.models.proof import prove_declaration
from support.invariance import Problem, assert_invariant, assert_none_is_missed
from support.tracing import scale_invariant_names

STANDARD = {
    "basic": ((2, 2, 2, 2), torchvision.models.resnet18),
    "bottleneck": ((3, 4, 6, 3), torchvision.models.resnet50),
}
NARROW = {
    "block": "bottleneck",
    "blocks": (1, 1, 1, 1),
    "width": 2,
    "stem": "small",
}


def narrow(shape: tuple[int, int, int] = (1, 8, 16), seed: int = 0, **changed: object) -> nn.Module:
    return build(shape, 4, seed, **{**NARROW, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("block", STANDARD)
def test_the_standard_network_is_torchvisions(block: str) -> None:
    blocks, theirs = STANDARD[block]
    ours = PostActivationResNet((3, 64, 64), 10, block, blocks, 64, "large")
    other = theirs(num_classes=10)
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [
        (n, p.shape) for n, p in other.named_parameters()
    ]
    ours.load_state_dict(other.state_dict())
    images = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for mode in (True, False):
            found, expected = (network.train(mode)(images) for network in (ours, other))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_its_initialisation_is_torchvisions() -> None:
    weight = build(
        (3, 32, 32), 10, 0, block="basic", blocks=(1, 1, 1, 1), width=64, stem="large"
    ).state_dict()["layer4.0.conv2.weight"]
    # He et al. 2015 by the fan out: a variance of 2 / (512 * 9).
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


@pytest.mark.parametrize("side", [8, 9, 32])
def test_small_images_keep_their_sides_up_to_the_second_stage(side: int) -> None:
    network = narrow((3, side, side))
    sizes = {}
    for name in ("layer1", "layer2", "layer4", "avgpool"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: sizes.update({name: output.shape[2]})
        )
    assert network(torch.randn(2, 3, side, side)).shape == (2, 4)
    assert sizes == {
        "layer1": side,
        "layer2": -(-side // 2),
        "layer4": -(-side // 8),
        "avgpool": 1,
    }


def test_a_seed_gives_one_network_and_leaves_the_global_state() -> None:
    before = torch.random.get_rng_state()
    first, same, other = narrow(seed=3), narrow(seed=3), narrow(seed=4)
    assert torch.equal(before, torch.random.get_rng_state())
    name = "layer2.0.conv2.weight"
    assert torch.equal(first.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])


@pytest.mark.parametrize("stem", ["small", "large"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_every_convolution_is_scale_invariant_and_nothing_else(block: str, stem: str) -> None:
    shape = (3, 32, 32)
    network = narrow(shape, block=block, stem=stem)
    declared = declared_weights(network)
    convolutions = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    assert declared.names == tuple(f"{name}.weight" for name in convolutions)
    assert declared.names == scale_invariant_names(network)
    assert declared.by_filter == declared.names
    assert "layer2.0.conv2.weight" in declared.names
    prove_declaration(network, shape)
    problem = Problem(network, shape, 0)
    assert_invariant(problem, declared.names, 0.03)
    assert_none_is_missed(problem, declared.names)
