"""perigee.training.optimisers.adam against torch.optim.Adam and the algorithm written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sgd import decays, rates, seeds, targets

from perigee.training.optimisers.adam import Adam

betas = st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.0), (0.9, 0.99)])


@settings(max_examples=40)
@given(
    learning_rates=st.lists(rates, min_size=1, max_size=6), decay=decays, betas=betas, seed=seeds
)
def test_steps_are_those_of_torch(
    learning_rates: list[float], decay: float, betas: tuple[float, float], seed: int
) -> None:
    start, *gradients = targets(seed, len(learning_rates))
    theirs = start.clone().requires_grad_()
    reference = torch.optim.Adam([theirs], lr=learning_rates[0], betas=betas, weight_decay=decay)
    ours = start.clone()
    rule = Adam(ours, weight_decay=decay, beta_1=betas[0], beta_2=betas[1])
    for learning_rate, constant in zip(learning_rates, gradients, strict=True):
        reference.param_groups[0]["lr"] = learning_rate
        theirs.grad = torch.sin(theirs.detach()) + constant
        gradient = torch.sin(ours) + constant
        kept = gradient.clone()
        reference.step()
        rule.step(ours, gradient, learning_rate)
        assert torch.equal(gradient, kept)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-10)


def test_two_steps_written_out() -> None:
    x, decay, rate = 2.0, 0.5, 0.1
    first = second = 0.0
    parameters = torch.tensor([x], dtype=torch.float64)
    rule = Adam(parameters, weight_decay=decay, beta_1=0.9, beta_2=0.999)
    for step, gradient in ((1, 3.0), (2, -1.0)):
        rule.step(parameters, torch.tensor([gradient], dtype=torch.float64), rate)
        decayed = gradient + decay * x
        first = 0.9 * first + 0.1 * decayed
        second = 0.999 * second + 0.001 * decayed**2
        root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        x -= rate * first / (1 - 0.9**step) / root
        assert float(parameters) == pytest.approx(x, rel=1e-12)


def test_the_state_is_all_that_steps_depend_on() -> None:
    start, *gradients = targets(0, 4)
    whole, resumed = start.clone(), start.clone()
    rule, first = (Adam(start, weight_decay=0.1, beta_1=0.9, beta_2=0.999) for _ in range(2))
    for gradient in gradients:
        rule.step(whole, gradient, 0.1)
    for gradient in gradients[:2]:
        first.step(resumed, gradient, 0.1)
    second = Adam(start, weight_decay=0.1, beta_1=0.9, beta_2=0.999)
    for name, value in first.state.items():
        second.state[name].copy_(value)
    for gradient in gradients[2:]:
        second.step(resumed, gradient, 0.1)
    assert torch.equal(resumed, whole)
