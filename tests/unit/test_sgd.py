"""perigee.training.optimisers.sgd against torch.optim.SGD and the equation written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.training.optimisers.sgd import SGD

rates = st.floats(1e-4, 2.0)
decays = st.sampled_from([0.0, 1e-3, 0.1, 0.7])
seeds = st.integers(0, 2**31)


def targets(seed: int, steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((steps + 1, 5), generator=generator, dtype=torch.float64)


@settings(max_examples=40)
@given(
    learning_rates=st.lists(rates, min_size=1, max_size=6),
    decay=decays,
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    seed=seeds,
)
def test_steps_are_those_of_torch(
    learning_rates: list[float], decay: float, momentum: float, seed: int
) -> None:
    start, *gradients = targets(seed, len(learning_rates))
    theirs = start.clone().requires_grad_()
    reference = torch.optim.SGD(
        [theirs], lr=learning_rates[0], momentum=momentum, weight_decay=decay
    )
    ours = start.clone()
    rule = SGD(ours, weight_decay=decay, momentum=momentum)
    for learning_rate, constant in zip(learning_rates, gradients, strict=True):
        # The gradient depends on the point, so a wrong step shows in the next one.
        reference.param_groups[0]["lr"] = learning_rate
        theirs.grad = torch.sin(theirs.detach()) + constant
        gradient = torch.sin(ours) + constant
        kept = gradient.clone()
        reference.step()
        rule.step(ours, gradient, learning_rate)
        assert torch.equal(gradient, kept)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-11, atol=1e-12)


@settings(max_examples=20)
@given(learning_rate=rates, decay=decays, seed=seeds)
def test_a_step_is_equation_2_of_lobacheva(learning_rate: float, decay: float, seed: int) -> None:
    point, gradient = targets(seed, 1).numpy()
    expected = (1 - learning_rate * decay) * point - learning_rate * gradient
    stepped = torch.tensor(point)
    SGD(stepped, weight_decay=decay, momentum=0.0).step(
        stepped, torch.tensor(gradient), learning_rate
    )
    np.testing.assert_allclose(stepped.numpy(), expected, rtol=1e-13, atol=1e-15)


def test_velocity_is_the_decayed_sum_of_gradients() -> None:
    # On a fixed gradient without weight decay: v_t = (1 + alpha + ... + alpha^(t-1)) g.
    parameters, gradient = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    rule = SGD(parameters, weight_decay=0.0, momentum=0.5)
    for step in range(1, 6):
        rule.step(parameters, gradient, 1.0)
        assert float(rule.state["velocity"]) == pytest.approx(2 * (1 - 0.5**step), rel=1e-14)


def test_there_is_a_state_with_momentum_only() -> None:
    parameters = torch.ones(3, dtype=torch.float64)
    assert SGD(parameters, weight_decay=0.1, momentum=0.0).state == {}
    velocity = SGD(parameters, weight_decay=0.1, momentum=0.9).state["velocity"]
    assert velocity.dtype == torch.float64
    assert torch.equal(velocity, torch.zeros(3, dtype=torch.float64))
