"""Flat parameters without a network, to test update rules and constraints on."""

from __future__ import annotations

from typing import Protocol

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from perigee.kernel.flat import FlatParameters
from perigee.models.declaration import ScaleInvariantWeights

groups = {"scale_invariant": slice(3), "other": slice(3, 5), "normalisation": slice(5, 7)}
"""The positions in `flat` of the numbers of each group."""

rates = st.floats(1e-4, 2.0)
decays = st.sampled_from([0.0, 1e-3, 0.1, 0.7])
seeds = st.integers(0, 2**31)
undecayed = st.lists(st.sampled_from(sorted(groups)), unique=True)


class Rule(Protocol):
    def step(self, parameters: FlatParameters, learning_rate: Tensor) -> None: ...


class Vectors(nn.Module):
    """A scale-invariant vector, another one, and a normalisation's scale and location."""

    def __init__(self) -> None:
        super().__init__()
        self.normal = nn.BatchNorm1d(1)
        self.invariant = nn.Parameter(torch.zeros(3))
        self.other = nn.Parameter(torch.zeros(2))
        self.scale_invariant_weights = ScaleInvariantWeights(("invariant",))


def flat(values: Tensor, dtype: torch.dtype = torch.float64) -> FlatParameters:
    """Seven numbers, in the groups of `groups`."""
    parameters = FlatParameters(Vectors().to(dtype))
    parameters.values.copy_(values)
    return parameters


def targets(seed: int, steps: int) -> Tensor:
    """A point and a vector for each step, (1 + steps, 7)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((steps + 1, 7), generator=generator, dtype=torch.float64)


def step(rule: Rule, parameters: FlatParameters, gradient: Tensor, learning_rate: float) -> None:
    """One step along a gradient."""
    parameters.gradient.copy_(gradient)
    rule.step(parameters, torch.tensor(learning_rate, dtype=torch.float64))
