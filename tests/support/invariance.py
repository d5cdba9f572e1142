"""The consequences of scale invariance for the loss of a network, number by number."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

IMAGES = 6
NEGLIGIBLE = 1e-300
"""An epsilon that vanishes beside any variance; PyTorch refuses 0."""

factors = st.floats(-3, 3).map(lambda exponent: 10**exponent)


def exact(model: nn.Module, seed: int) -> nn.Module:
    """Prepare a network in float64, without BatchNorm's epsilon, which breaks exact invariance.

    BatchNorm's location and scale get random values: at location 0, as initialised, a scale would
    look invariant too.
    """
    generator = torch.Generator().manual_seed(seed)
    model = model.double().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = NEGLIGIBLE
            if module.affine:
                size = module.num_features
                module.weight.data = 0.5 + torch.rand(size, generator=generator).double()
                module.bias.data = torch.rand(size, generator=generator).double() - 0.5
    return model


class Problem:
    """Loss and gradients of a network on random images."""

    def __init__(self, model: nn.Module, input_shape: Sequence[int], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.model = exact(model, seed)
        self.images = torch.randn((IMAGES, *input_shape), generator=generator).double()
        outputs = model(self.images).shape[1]
        self.labels = torch.randint(outputs, (IMAGES,), generator=generator)
        self.parameters = dict(self.model.named_parameters())
        self.trained = [name for name, p in self.parameters.items() if p.requires_grad]

    def loss(self) -> Tensor:
        return functional.cross_entropy(self.model(self.images), self.labels)

    def gradients(self, names: Sequence[str]) -> Tensor:
        """All numbers as one vector."""
        gradients = torch.autograd.grad(self.loss(), [self.parameters[name] for name in names])
        return torch.cat([gradient.flatten() for gradient in gradients])

    def values(self, names: Sequence[str]) -> Tensor:
        return torch.cat([self.parameters[name].detach().flatten() for name in names])

    @torch.no_grad()
    def scale(self, names: Sequence[str], factor: float) -> None:
        for name in names:
            self.parameters[name].mul_(factor)

    def loss_when_scaled(self, names: Sequence[str], factor: float) -> float:
        kept = {name: self.parameters[name].detach().clone() for name in names}
        self.scale(names, factor)
        loss = self.loss().item()
        for name, value in kept.items():
            self.parameters[name].data.copy_(value)
        return loss


def assert_invariant(problem: Problem, names: Sequence[str], factor: float) -> None:
    """Check loss, eq. (1a) and eq. (1b) of Lobacheva et al. 2021 for all ``names`` together."""
    loss = problem.loss().item()
    gradient, values = problem.gradients(names), problem.values(names)
    size = gradient.norm() * values.norm()
    assert abs(gradient @ values) <= 1e-12 * size + 1e-15
    problem.scale(names, factor)
    assert problem.loss().item() == pytest.approx(loss, rel=1e-10)
    difference = (problem.gradients(names) * factor - gradient).norm()
    assert difference <= 1e-8 * gradient.norm() + 1e-13
    problem.scale(names, 1 / factor)


def assert_none_is_missed(problem: Problem, found: Sequence[str]) -> None:
    """Check that scaling any other trained parameter changes the loss.

    Locations that the next normalisation cancels, such as the standard ResNet's before its
    shortcuts, are exempt: they have no effect at all.
    """
    loss = problem.loss().item()
    for name in set(problem.trained) - set(found):
        if problem.parameters[name].dim() == 1 and problem.gradients([name]).norm() < 1e-12:
            continue
        assert abs(problem.loss_when_scaled([name], 1.7) - loss) > 1e-7 * loss, name
