"""perigee.kernel.optimisers.sgd against torch.optim.SGD and the equation written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.kernel.optimisers.sgd import SGD
from support.vectors import decays, flat, groups, rates, seeds, step, targets, undecayed


@settings(max_examples=40)
@given(
    learning_rates=st.lists(rates, min_size=1, max_size=6),
    decay=decays,
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    left_out=undecayed,
    seed=seeds,
)
def test_steps_are_those_of_torch_with_parameter_groups(
    learning_rates: list[float], decay: float, momentum: float, left_out: list[str], seed: int
) -> None:
    start, *gradients = targets(seed, len(learning_rates))
    theirs = {name: start[part].clone().requires_grad_() for name, part in groups.items()}
    reference = torch.optim.SGD(
        [
            {"params": [values], "weight_decay": 0.0 if name in left_out else decay}
            for name, values in theirs.items()
        ],
        lr=learning_rates[0],
        momentum=momentum,
    )
    ours = flat(start)
    rule = SGD(ours, weight_decay=decay, undecayed=left_out, momentum=momentum)
    for learning_rate, constant in zip(learning_rates, gradients, strict=True):
        # The gradient depends on the point, so a wrong step shows in the next one.
        for group, (name, part) in zip(reference.param_groups, groups.items(), strict=True):
            group["lr"] = learning_rate
            theirs[name].grad = torch.sin(theirs[name].detach()) + constant[part]
        gradient = torch.sin(ours.values) + constant
        reference.step()
        step(rule, ours, gradient, learning_rate)
        assert torch.equal(ours.gradient, gradient)
        expected = torch.cat([values.detach() for values in theirs.values()])
        torch.testing.assert_close(ours.values, expected, rtol=1e-11, atol=1e-12)


@settings(max_examples=20)
@given(learning_rate=rates, decay=decays, seed=seeds)
def test_a_step_is_equation_2_of_lobacheva(learning_rate: float, decay: float, seed: int) -> None:
    point, gradient = targets(seed, 1)
    expected = (1 - learning_rate * decay) * point.numpy() - learning_rate * gradient.numpy()
    stepped = flat(point)
    step(
        SGD(stepped, weight_decay=decay, undecayed=(), momentum=0.0),
        stepped,
        gradient,
        learning_rate,
    )
    np.testing.assert_allclose(stepped.values.numpy(), expected, rtol=1e-13, atol=1e-15)


def test_velocity_is_the_decayed_sum_of_gradients() -> None:
    # On a fixed gradient without weight decay: v_t = (1 + alpha + ... + alpha^(t-1)) g.
    parameters = flat(torch.zeros(7))
    rule = SGD(parameters, weight_decay=0.0, undecayed=(), momentum=0.5)
    for number in range(1, 6):
        step(rule, parameters, torch.ones(7), 1.0)
        expected = 2 * (1 - 0.5**number)
        assert rule.state["velocity"].tolist() == pytest.approx([expected] * 7, rel=1e-14)


def test_there_is_a_state_with_momentum_only() -> None:
    parameters = flat(torch.ones(7))
    assert SGD(parameters, weight_decay=0.1, undecayed=(), momentum=0.0).state == {}
    rule = SGD(parameters, weight_decay=0.1, undecayed=(), momentum=0.9)
    assert torch.equal(rule.state["velocity"], torch.zeros(7, dtype=torch.float64))
