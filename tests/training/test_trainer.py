"""perigee.kernel.trainer against the independent loop of support.reference_training."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from perigee.blocks.measures import FullGradientNorm, Metrics, Steps
from perigee.dynamics.norm import next_squared_norm
from perigee.errors import PerigeeError
from perigee.kernel.trainer import Moment, Trainer
from support.recorded import Recorded, recorded
from support.reference_training import (
    GOLDEN_EPOCHS,
    GOLDEN_FILE,
    GOLDEN_SETTINGS,
    STEP_QUANTITIES,
    Settings,
    learning_rate,
    reference_curves,
)
from support.runs import make_spec, make_trainer

NEGLIGIBLE = 1e-300
"""An epsilon that vanishes beside any variance; PyTorch refuses 0."""

LAYOUTS = (torch.contiguous_format, torch.channels_last)

DIGITS = 1e-12
"""The largest relative difference of a golden run from the reference."""


def trained(trainer: Trainer, epochs: int) -> Recorded:
    return recorded(trainer, epochs, Metrics(), FullGradientNorm(), Steps())


@cache
def golden_run(name: str, layout: torch.memory_format) -> Recorded:
    return trained(make_trainer(GOLDEN_SETTINGS[name], memory_format=layout), GOLDEN_EPOCHS)


def assert_equals_reference(found: Recorded, run: Settings, epochs: int, digits: float) -> None:
    """Every measured quantity of every step and epoch."""
    expected = reference_curves(run, epochs)
    steps = np.concatenate(expected.steps)
    for number, quantity in enumerate(STEP_QUANTITIES):
        # The reference computes 1 - cosine, which has an error of the size of 1's last digit.
        atol = 2e-15 if quantity == "cosine_distance" else 0
        np.testing.assert_allclose(
            found.rows["steps"][quantity], steps[:, number], digits, atol, err_msg=quantity
        )
    assert np.array_equal(found.rows["losses"], found.rows["steps"]["loss"])
    rows = found.rows["metrics"]
    assert rows["epoch"].tolist() == list(range(epochs + 1))
    for epoch, wanted in enumerate(expected.metrics):
        rate = learning_rate(run, epoch)
        norm, gradient_norm = wanted["weight_norm"], wanted["gradient_norm"]
        derived = {
            "learning_rate": rate,
            "effective_learning_rate": rate / norm**2,
            "effective_gradient_norm": gradient_norm * norm,
            "effective_step_size": rate * gradient_norm / norm,
        }
        full = wanted.pop("full_gradient_norm")
        row = dict(zip(rows.dtype.names, rows[epoch].tolist(), strict=True))
        assert row == pytest.approx({"epoch": epoch, **wanted, **derived}, rel=digits)
        found_full = found.rows["full_gradient_norm"]["full_gradient_norm"][epoch]
        assert found_full == pytest.approx(full, rel=digits)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GOLDEN_SETTINGS)
def test_a_run_equals_an_independent_loop(name: str, layout: torch.memory_format) -> None:
    found = golden_run(name, layout)
    assert_equals_reference(found, GOLDEN_SETTINGS[name], GOLDEN_EPOCHS, DIGITS)


@settings(max_examples=10)
@given(
    run=st.builds(
        Settings,
        width=st.integers(1, 3),
        scale_invariant=st.booleans(),
        learning_rate=st.floats(0.01, 0.3),
        weight_decay=st.sampled_from([0.0, 0.01, 0.1]),
        momentum=st.sampled_from([0.0, 0.9]),
        norm=st.sampled_from([None, 2.0, 10.0]),
        batch_size=st.sampled_from([16, 35, 70, 128]),
        label_smoothing=st.sampled_from([0.0, 0.1, 0.9]),
        padding=st.sampled_from([None, 0, 1, 4]),
        full_batch=st.booleans(),
        undecayed=st.sampled_from([(), ("normalisation",), ("scale_invariant", "other")]),
        seed=st.integers(0, 10**6),
    ),
    layout=st.sampled_from(LAYOUTS),
)
def test_any_run_equals_an_independent_loop(run: Settings, layout: torch.memory_format) -> None:
    # Wider tolerance than above: some of these runs amplify differences.
    assert_equals_reference(trained(make_trainer(run, memory_format=layout), 2), run, 2, 1e-8)


@pytest.mark.parametrize("name", GOLDEN_SETTINGS)
def test_a_run_equals_the_committed_curves(name: str) -> None:
    """They were made on another machine, with other convolutions."""
    rows = golden_run(name, torch.contiguous_format).rows["steps"]
    golden = json.loads(GOLDEN_FILE.read_text())[name]
    assert set(golden) == set(STEP_QUANTITIES)
    for quantity, curve in golden.items():
        np.testing.assert_allclose(rows[quantity], curve, rtol=1e-8, err_msg=quantity)


RULES = {
    "momentum": {"momentum": 0.9, "learning_rate": 0.1},
    "adam": {"optimiser": "adam", "learning_rate": 0.01},
}
SCHEDULES = {"constant": {}, "cosine": {"cosine_horizon": 2}, "steps": {"milestones": (1,)}}
VARIATIONS = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1},
    "augmented": {"padding": 1},
    "full batch": {"full_batch": True},
    "sphere": {"norm": 5.0},
    "undecayed": {"undecayed": ("normalisation",), "weight_decay": 0.3},
}


@pytest.mark.parametrize("scale_invariant", [True, False])
@pytest.mark.parametrize(
    ("rule", "schedule", "variation"),
    [
        *(("momentum", "constant", variation) for variation in VARIATIONS),
        ("momentum", "cosine", "sphere"),
        ("adam", "cosine", "smoothed"),
        ("adam", "steps", "augmented"),
        ("adam", "constant", "sphere"),
    ],
)
def test_a_resnet_goes_with_every_rule_schedule_loss_augmentation_and_gradient(
    scale_invariant: bool, rule: str, schedule: str, variation: str
) -> None:
    """Two epochs of two steps, or with full batches of one."""
    run = Settings(
        model="resnet18",
        width=1,
        scale_invariant=scale_invariant,
        batch_size=36,
        **{**RULES[rule], **SCHEDULES[schedule], **VARIATIONS[variation]},
    )
    found, expected = trained(make_trainer(run), 2), reference_curves(run, 2)
    steps = np.concatenate(expected.steps)
    for number, quantity in enumerate(STEP_QUANTITIES):
        np.testing.assert_allclose(found.rows["steps"][quantity], steps[:, number], 1e-8, 1e-12)
    names = ["train_loss", "train_error", "weight_norm", "test_loss", "test_error"]
    if rule == "adam" and not scale_invariant:
        # The BatchNorms after it cancel a shortcut's location, whose gradient is a rounding error.
        # Adam makes steps of it all the same, and in eval mode the location shows.
        names = names[:3]
    for name in names:
        wanted = expected.metrics[-1][name]
        assert found.rows["metrics"][name][-1] == pytest.approx(wanted, 1e-8, 1e-12), name


# The papers' equations along a run


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_norm_and_angle_of_a_scale_invariant_run_obey_the_papers(momentum: float) -> None:
    run = Settings(learning_rate=0.3, weight_decay=0.05, momentum=momentum)
    trainer = make_trainer(run)
    for module in trainer.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = NEGLIGIBLE  # with it, invariance only holds approximately
    rows = trained(trainer, 4).rows["steps"]
    before, after = rows["weight_norm"][:-1], rows["weight_norm"][1:]
    rate, decay, g = run.learning_rate, run.weight_decay, rows["gradient_norm"][:-1]

    # Lobacheva et al. 2021, eq. (3), rho * g being the effective gradient norm.
    squared = (1 - rate * decay) ** 2 * before**2 + rate**2 * (before * g) ** 2 / before**2
    # The step is tangential, the decay radial: together they are legs of a right triangle.
    tangent = rate * g / ((1 - rate * decay) * before)
    angle = np.arctan(tangent)
    if momentum:
        assert np.abs(after**2 / squared - 1).max() > 1e-3
        return
    np.testing.assert_allclose(after**2, squared, rtol=1e-10)
    np.testing.assert_allclose(next_squared_norm(rate, decay, g, before), after**2, rtol=1e-10)
    distance = rows["cosine_distance"][:-1]
    np.testing.assert_allclose(distance, 2 * np.sin(angle / 2) ** 2, rtol=1e-9)


def test_on_the_sphere_the_norm_stays() -> None:
    found = trained(make_trainer(Settings(norm=2.5, learning_rate=0.5)), 2)
    np.testing.assert_allclose(found.rows["steps"]["weight_norm"], 2.5, rtol=1e-12)
    np.testing.assert_allclose(found.rows["metrics"]["weight_norm"], 2.5, rtol=1e-12)


def test_the_frozen_head_stays() -> None:
    trainer = make_trainer(Settings(learning_rate=0.5, weight_decay=0.1))
    head = [p.clone() for p in trainer.model.parameters() if not p.requires_grad]
    trained(trainer, 1)
    frozen = [p for p in trainer.model.parameters() if not p.requires_grad]
    assert len(frozen) == 2
    assert all(torch.equal(one, other) for one, other in zip(head, frozen, strict=True))


# Randomness


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    run = Settings(learning_rate=0.3)
    first, second, other = (make_trainer(replace(run, seed=s), "float32") for s in (0, 0, 1))
    found = []
    for trainer in (first, second, other):
        torch.manual_seed(len(found))  # the global random state has no say
        np.random.seed(len(found))
        found.append(trained(trainer, 2).rows)
    for name, rows in found[0].items():
        assert np.array_equal(rows, found[1][name]), name
    assert all(torch.equal(value, second.state()[name]) for name, value in first.state().items())
    assert not (found[0]["losses"] == found[2]["losses"]).any()


def test_the_order_of_the_data_changes_with_the_epoch() -> None:
    # With a learning rate of (almost) nothing, only the order can change the losses.
    losses = trained(make_trainer(Settings(learning_rate=1e-13, weight_decay=0.0)), 2)
    first, second = losses.rows["losses"].reshape(2, -1)
    assert np.abs(first - second).min() > 1e-6


def test_whoever_drives_a_run_may_give_the_order() -> None:
    """A comparison with another implementation needs this."""
    run = Settings(learning_rate=0.3)

    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((run.seed, epoch)).permutation(70)

    given_order = trained(make_trainer(run, epoch_order=order), 2).rows
    assert np.array_equal(given_order["steps"], trained(make_trainer(run), 2).rows["steps"])
    turned = trained(make_trainer(run, epoch_order=lambda epoch: order(epoch)[::-1]), 1).rows
    assert not (turned["losses"] == given_order["losses"][:4]).any()


# An epoch


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 70), (20, 4), (35, 2), (70, 1), (71, 1)])
@pytest.mark.parametrize("full_batch", [False, True])
def test_an_epoch_has_a_step_for_every_batch_or_one_for_all(
    batch_size: int, steps: int, full_batch: bool
) -> None:
    trainer = make_trainer(Settings(width=1, batch_size=batch_size, full_batch=full_batch))
    moments = list(trainer.epoch(0))
    if full_batch:
        assert moments == [Moment.BATCH] * steps + [Moment.GRADIENT, Moment.STEP]
    else:
        assert moments == [Moment.GRADIENT, Moment.STEP] * steps
    taken = 1 if full_batch else steps
    assert trainer.task.steps_per_epoch == taken
    # Nothing is left to be taken, and nothing is taken twice.
    weights = trainer.parameters.values.clone()
    assert list(trainer.epoch(0, taken)) == []
    assert torch.equal(trainer.parameters.values, weights)


@pytest.mark.parametrize("batch_size", [1, 3, 23, 69])
def test_a_last_batch_too_small_for_batch_norm_is_refused(batch_size: int) -> None:
    """For 8x8 images the ResNet's last maps have one pixel, those of the ConvNet four."""
    with pytest.raises(PerigeeError, match=f"'batch_size' is {batch_size}, .* of 70 .* has one"):
        make_trainer(Settings(width=1, model="resnet18", batch_size=batch_size))
    make_trainer(Settings(width=1, batch_size=batch_size))
    make_trainer(Settings(width=1, model="resnet18", batch_size=batch_size + 1))


def test_the_refusal_leaves_no_trace_in_the_network() -> None:
    tried = make_trainer(Settings(width=1, batch_size=69))
    other = make_trainer(Settings(width=1, batch_size=68))
    for name, value in tried.state().items():
        assert torch.equal(value, other.state()[name]), name


@pytest.mark.parametrize("name", [*GOLDEN_SETTINGS, "adam"])
def test_state_is_all_that_training_on_needs(name: str) -> None:
    adam = Settings(optimiser="adam", learning_rate=0.01, scale_invariant=False)
    run = GOLDEN_SETTINGS.get(name, adam)
    trainer, fresh = (make_trainer(run, "float32") for _ in range(2))
    list(trainer.epoch(0))
    state = trainer.state()
    list(trainer.epoch(1))
    # A copy: training on has not changed it.
    fresh.restore(state)
    list(fresh.epoch(1))
    for key, value in trainer.state().items():
        assert torch.equal(value, fresh.state()[key]), key
    assert torch.equal(trainer.loss, fresh.loss)


@pytest.mark.parametrize("layouts", [LAYOUTS, LAYOUTS[::-1]], ids=["to last", "from last"])
@pytest.mark.parametrize("run", [Settings(momentum=0.9), Settings(optimiser="adam")])
def test_a_state_does_not_depend_on_the_layout_in_memory(
    run: Settings, layouts: tuple[torch.memory_format, torch.memory_format]
) -> None:
    """A run that began on a GPU may continue on a CPU."""
    first, second, whole = (make_trainer(run, memory_format=n) for n in (*layouts, layouts[0]))
    for trainer in (first, whole):
        list(trainer.epoch(0))
    second.restore(first.state())
    for name, value in first.state().items():
        assert torch.equal(value, second.state()[name]), name
    for trainer in (second, whole):
        list(trainer.epoch(1))
    for name, value in whole.state().items():
        torch.testing.assert_close(second.state()[name], value, rtol=1e-9, atol=1e-12)


def test_a_spec_takes_a_head_of_its_own_seed() -> None:
    """Runs of two seeds share their frozen head and nothing else; by default they share nothing."""

    def parameters(seed: int, head_seed: int | None) -> dict[str, torch.Tensor]:
        spec = make_spec(Settings(seed=seed))
        model = {**spec.model.to_dict(), "head_seed": head_seed}
        trainer = make_trainer(make_spec(Settings(seed=seed), model=model))
        return {name: p.detach() for name, p in trainer.model.named_parameters()}

    first, second, third, by_default = (
        parameters(seed, head_seed) for seed, head_seed in ((0, 7), (1, 7), (0, 8), (0, None))
    )
    frozen = {"head.weight", "head.bias"}
    for name, value in first.items():
        assert torch.equal(value, second[name]) == (name in frozen), name
        assert torch.equal(value, third[name]) == (name not in frozen), name
        assert torch.equal(value, by_default[name]) == (name not in frozen), name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        drawn = nn.Linear(16, 10)
    weight = drawn.weight.detach().double()
    torch.testing.assert_close(first["head.weight"], 10 * weight / weight.norm(), rtol=1e-6, atol=0)
    assert torch.equal(first["head.bias"], drawn.bias.detach().double())
