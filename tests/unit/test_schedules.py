"""perigee.training.schedules against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.training.schedules import constant, cosine, steps


@settings(max_examples=50)
@given(epoch=st.integers(0, 10**6))
def test_constant(epoch: int) -> None:
    assert constant.factor(epoch) == 1


@settings(max_examples=50)
@given(horizon=st.integers(1, 500), epoch=st.integers(0, 600))
def test_cosine_is_the_squared_cosine_of_half_the_angle(horizon: int, epoch: int) -> None:
    # (1 + cos x) / 2 = cos^2(x / 2), another form than that of the code.
    expected = np.cos(np.pi * epoch / horizon / 2) ** 2 if epoch < horizon else 0.0
    assert cosine.factor(epoch, horizon=horizon) == pytest.approx(expected, abs=1e-15)


def test_cosine_starts_at_one_and_ends_at_exactly_zero() -> None:
    assert cosine.factor(0, horizon=200) == 1
    assert cosine.factor(100, horizon=200) == pytest.approx(0.5)
    assert cosine.factor(200, horizon=200) == 0
    assert cosine.factor(300, horizon=200) == 0


@settings(max_examples=50)
@given(
    milestones=st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True).map(sorted),
    decay=st.sampled_from([0.1, 0.5, 2.0]),
)
def test_steps_are_those_of_torch(milestones: list[int], decay: float) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=decay)
    for epoch in range(32):
        expected = optimiser.param_groups[0]["lr"]
        assert steps.factor(epoch, milestones=milestones, decay=decay) == pytest.approx(expected)
        optimiser.step()
        reference.step()
