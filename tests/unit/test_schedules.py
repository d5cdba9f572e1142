"""perigee.kernel.schedules against their closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from perigee.errors import PerigeeError
from perigee.kernel.flat import FlatParameters
from perigee.kernel.schedules.base import Optimiser, Schedule
from perigee.kernel.schedules.constant import Constant
from perigee.kernel.schedules.cosine import Cosine
from perigee.kernel.schedules.steps import RescaledSteps, Steps
from perigee.spec import RunSpec
from support.recorded import recorded
from support.reference_training import Settings
from support.runs import make_trainer

NO_WARM_UP = {"warm_up_steps": 0, "warm_up_from": 0.001}


def factor(schedule: Schedule, epoch: int) -> float:
    """The factor of all steps of an epoch."""
    factors = schedule.factors(epoch)
    assert factors.shape == (schedule.steps_per_epoch,)
    assert factors.dtype == np.float64
    (one,) = set(factors.tolist())
    return one


@settings(max_examples=50)
@given(epoch=st.integers(0, 10**6), steps=st.integers(1, 9))
def test_constant(epoch: int, steps: int) -> None:
    assert factor(Constant(steps), epoch) == 1


@settings(max_examples=50)
@given(horizon=st.integers(1, 500), epoch=st.integers(0, 600), steps=st.integers(1, 9))
def test_cosine_is_the_squared_cosine_of_half_the_angle(
    horizon: int, epoch: int, steps: int
) -> None:
    # (1 + cos x) / 2 = cos^2(x / 2), another form than that of the code.
    expected = np.cos(np.pi * epoch / horizon / 2) ** 2 if epoch < horizon else 0.0
    assert factor(Cosine(steps, horizon=horizon), epoch) == pytest.approx(expected, abs=1e-15)


def test_cosine_starts_at_one_and_ends_at_exactly_zero() -> None:
    schedule = Cosine(2, horizon=200)
    assert factor(schedule, 0) == 1
    assert factor(schedule, 100) == pytest.approx(0.5)
    assert factor(schedule, 200) == 0
    assert factor(schedule, 300) == 0


@settings(max_examples=50)
@given(
    milestones=st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True).map(sorted),
    gamma=st.sampled_from([0.1, 0.5, 2.0]),
)
def test_steps_are_those_of_torch(milestones: list[int], gamma: float) -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=gamma)
    schedule = Steps(3, milestones=milestones, gamma=gamma, **NO_WARM_UP)
    for epoch in range(32):
        assert factor(schedule, epoch) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        reference.step()


@settings(max_examples=50)
@given(
    steps=st.integers(1, 7),
    warm_up=st.integers(1, 30),
    begin=st.floats(1e-3, 1),
    milestone=st.integers(1, 8),
)
def test_a_warm_up_rises_in_every_step_as_that_of_torch(
    steps: int, warm_up: int, begin: float, milestone: int
) -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    references = [
        torch.optim.lr_scheduler.LinearLR(optimiser, begin, 1.0, total_iters=warm_up),
        torch.optim.lr_scheduler.MultiStepLR(optimiser, [milestone * steps], gamma=0.1),
    ]
    schedule = Steps(
        steps, milestones=[milestone], gamma=0.1, warm_up_steps=warm_up, warm_up_from=begin
    )
    for epoch in range(10):
        for found in schedule.factors(epoch):
            assert found == pytest.approx(optimiser.param_groups[0]["lr"])
            optimiser.step()
            for reference in references:
                reference.step()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("velocity", ["multiplied", "reset"])
def test_rescaling_takes_the_weights_to_the_norm_of_the_next_equilibrium(
    velocity: str, momentum: float
) -> None:
    trainer = make_trainer(Settings(momentum=momentum, scale_invariant=False))
    schedule = RescaledSteps(
        trainer.task.steps_per_epoch, milestones=[2, 4], gamma=0.1, velocity=velocity, **NO_WARM_UP
    )
    list(trainer.epoch(0))
    parameters, state = trainer.parameters, trainer.optimiser.state
    count = len(parameters.weights)
    assert 0 < count < len(parameters.values)
    before = parameters.values.clone()
    speeds = state["velocity"].clone() if momentum else None
    for epoch in (0, 1, 3, 5):
        schedule.begin_epoch(epoch, parameters, trainer.optimiser)
        assert torch.equal(parameters.values, before)
    schedule.begin_epoch(2, parameters, trainer.optimiser)
    root = 10**0.25
    torch.testing.assert_close(parameters.weights, before[:count] / root)
    assert torch.equal(parameters.values[count:], before[count:])
    assert ("velocity" in state) == bool(momentum)
    if speeds is not None:
        times = root if velocity == "multiplied" else 0
        torch.testing.assert_close(state["velocity"][:count], times * speeds[:count])
        assert torch.equal(state["velocity"][count:], speeds[count:])


def test_a_milestone_that_stands_twice_rescales_as_it_decays() -> None:
    trainer = make_trainer(Settings())
    steps = trainer.task.steps_per_epoch
    schedule = RescaledSteps(
        steps, milestones=[2, 2], gamma=0.1, velocity="multiplied", **NO_WARM_UP
    )
    assert factor(schedule, 2) == pytest.approx(0.01)
    before = trainer.parameters.weights.clone()
    schedule.begin_epoch(2, trainer.parameters, trainer.optimiser)
    torch.testing.assert_close(trainer.parameters.weights, before / 100**0.25)


class Eventful(Schedule):
    """Another factor in each step; doubles the weights at the beginning of every epoch."""

    def factors(self, epoch: int) -> np.ndarray:
        return 1 / (1.0 + epoch * self.steps_per_epoch + np.arange(self.steps_per_epoch))

    def begin_epoch(self, epoch: int, parameters: FlatParameters, optimiser: Optimiser) -> None:
        parameters.values.mul_(2)
        for value in optimiser.state.values():
            value.zero_()


def test_a_trainer_gives_every_step_its_factor_and_every_epoch_its_beginning() -> None:
    run = Settings(learning_rate=0.5, momentum=0.9, weight_decay=0.0)
    trainer = make_trainer(run)
    trainer.schedule = Eventful(trainer.task.steps_per_epoch)
    rates, doubled = [], []
    update = trainer.update
    trainer.update = lambda rate: (rates.append(float(rate)), update(rate))[-1]  # type: ignore[method-assign]
    begin = trainer.schedule.begin_epoch

    def begin_epoch(epoch: int, parameters: FlatParameters, optimiser: Optimiser) -> None:
        before = parameters.values.clone()
        begin(epoch, parameters, optimiser)
        doubled.append((epoch, torch.equal(parameters.values, 2 * before)))
        assert not optimiser.state["velocity"].any()

    trainer.schedule.begin_epoch = begin_epoch  # type: ignore[method-assign]
    recorded(trainer, 2)
    assert rates == pytest.approx([0.5 / n for n in range(1, 9)])
    assert doubled == [(0, True), (1, True)]


@pytest.mark.parametrize("full_batch", [False, True])
def test_a_state_in_the_middle_of_an_epoch_has_its_beginning_once(full_batch: bool) -> None:
    """If an epoch is a single step, the state is the one before its beginning."""
    trainers = [make_trainer(Settings(full_batch=full_batch)) for _ in range(2)]
    for trainer in trainers:
        trainer.schedule = Eventful(trainer.task.steps_per_epoch)
    whole, resumed = trainers
    list(whole.epoch(0))
    stopped = make_trainer(Settings(full_batch=full_batch))
    stopped.schedule = Eventful(stopped.task.steps_per_epoch)
    moments = stopped.epoch(0)
    for _ in range(2):  # two mini-batches of four, or the first step
        next(moments)
    resumed.restore(stopped.state())
    list(resumed.epoch(0, taken=0 if full_batch else 1))
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"constraint": {"name": "fixed_norm"}}, r"rescales weights, but .* 'fixed_norm' fixes"),
        ({"optimiser": {"name": "adamw", "learning_rate": 0.1}}, r"as SGD needs it, .* is 'adamw'"),
    ],
)
def test_rescaling_is_refused_where_it_has_no_meaning(changes: dict[str, Any], told: str) -> None:
    spec = {
        "dataset": {"name": "digits"},
        "model": {"name": "convnet", "width": 2, "scale_invariant": True},
        "optimiser": {"name": "sgd", "learning_rate": 0.1},
        "schedule": {"name": "rescaled_steps", "milestones": [1], "gamma": 0.1},
        "batch_size": 128,
        "seed": 0,
    }
    RunSpec.from_dict(spec)
    with pytest.raises(PerigeeError, match=told):
        RunSpec.from_dict({**spec, **changes})
