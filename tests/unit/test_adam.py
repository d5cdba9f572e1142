"""Adam and AdamW against those of torch.optim, and Adam against the algorithm written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.kernel.optimisers.adam import Adam
from perigee.kernel.optimisers.adamw import AdamW
from support.vectors import decays, flat, groups, rates, seeds, step, targets, undecayed

# A second rate of 0 would make steps of the gradient's sign, which amplify round-off.
betas = st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.5), (0.9, 0.99)])


@pytest.mark.parametrize(
    ("rule_class", "theirs_class"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)]
)
@settings(max_examples=40)
@given(
    learning_rates=st.lists(rates, min_size=1, max_size=6),
    decay=decays,
    betas=betas,
    left_out=undecayed,
    seed=seeds,
)
def test_steps_are_those_of_torch_with_parameter_groups(
    rule_class: type[Adam],
    theirs_class: type[torch.optim.Optimizer],
    learning_rates: list[float],
    decay: float,
    betas: tuple[float, float],
    left_out: list[str],
    seed: int,
) -> None:
    start, *gradients = targets(seed, len(learning_rates))
    theirs = {name: start[part].clone().requires_grad_() for name, part in groups.items()}
    reference = theirs_class(  # type: ignore[call-arg]
        [
            {"params": [values], "weight_decay": 0.0 if name in left_out else decay}
            for name, values in theirs.items()
        ],
        lr=learning_rates[0],
        betas=betas,
    )
    ours = flat(start)
    rule = rule_class(ours, weight_decay=decay, undecayed=left_out, betas=betas)
    for learning_rate, constant in zip(learning_rates, gradients, strict=True):
        for group, (name, part) in zip(reference.param_groups, groups.items(), strict=True):
            group["lr"] = learning_rate
            theirs[name].grad = torch.sin(theirs[name].detach()) + constant[part]
        gradient = torch.sin(ours.values) + constant
        reference.step()
        step(rule, ours, gradient, learning_rate)
        assert torch.equal(ours.gradient, gradient)
        expected = torch.cat([values.detach() for values in theirs.values()])
        torch.testing.assert_close(ours.values, expected, rtol=1e-9, atol=1e-10)


def test_two_steps_written_out() -> None:
    x, decay, rate = 2.0, 0.5, 0.1
    first = second = 0.0
    parameters = flat(torch.full((7,), x))
    rule = Adam(parameters, weight_decay=decay, undecayed=(), betas=(0.9, 0.999))
    for number, gradient in ((1, 3.0), (2, -1.0)):
        step(rule, parameters, torch.full((7,), gradient), rate)
        decayed = gradient + decay * x
        first = 0.9 * first + 0.1 * decayed
        second = 0.999 * second + 0.001 * decayed**2
        root = np.sqrt(second / (1 - 0.999**number)) + 1e-8
        x -= rate * first / (1 - 0.9**number) / root
        assert parameters.values.tolist() == pytest.approx([x] * 7, rel=1e-12)


def test_the_state_is_all_that_steps_depend_on() -> None:
    start, *gradients = targets(0, 4)
    whole, resumed = flat(start), flat(start)
    settings = {"weight_decay": 0.1, "undecayed": (), "betas": (0.9, 0.999)}
    rule, first = Adam(whole, **settings), Adam(resumed, **settings)
    for gradient in gradients:
        step(rule, whole, gradient, 0.1)
    for gradient in gradients[:2]:
        step(first, resumed, gradient, 0.1)
    second = Adam(resumed, **settings)
    for name, value in first.state.items():
        second.state[name].copy_(value)
    for gradient in gradients[2:]:
        step(second, resumed, gradient, 0.1)
    assert torch.equal(resumed.values, whole.values)
