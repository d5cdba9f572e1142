"""perigee.training.trainer against the independent loop of reference_training, and its course."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perigee.training.record import METRICS_COLUMNS, RunRecord
from reference_training import (
    GOLDEN_EPOCHS,
    GOLDEN_FILE,
    GOLDEN_SETTINGS,
    STEP_QUANTITIES,
    Settings,
    reference_curves,
)
from torch import nn

from perigee.data.arrays import ArrayDataset
from perigee.dynamics.norm import next_squared_norm
from perigee.errors import PerigeeError
from perigee.training import record as record_module
from perigee.training.trainer import Trainer, Watch, train

MakeTrainer = Callable[..., Trainer]

NEGLIGIBLE = 1e-300
"""An epsilon that vanishes beside any variance; PyTorch refuses 0."""


class Calls(Watch):
    """Calls a function after every epoch."""

    def __init__(self, after_epoch: Callable[[RunRecord], None]) -> None:
        self.after_epoch = after_epoch  # type: ignore[method-assign]


def trained(trainer: Trainer, epochs: int) -> RunRecord:
    record = RunRecord()
    train(trainer, epochs, record)
    return record


def column(record: RunRecord, quantity: str) -> np.ndarray:
    return np.concatenate(record.steps)[:, record_module.STEP_QUANTITIES.index(quantity)]


def assert_equals_reference(trainer: Trainer, run: Settings, epochs: int, digits: float) -> None:
    """Every logged quantity of every step and epoch."""
    record = trained(trainer, epochs)
    expected = reference_curves(run, epochs)
    assert record.epochs == epochs
    for steps, expected_steps in zip(record.steps, expected.steps, strict=True):
        # The naive cosine distance of the reference has rounding errors of the size of 1.
        np.testing.assert_allclose(steps[:, :3], expected_steps[:, :3], rtol=digits)
        np.testing.assert_allclose(steps[:, 3], expected_steps[:, 3], rtol=digits, atol=1e-14)
    for epoch, (row, expected_row) in enumerate(zip(record.metrics, expected.metrics, strict=True)):
        rate = run.learning_rate
        if run.cosine_horizon is not None:
            rate *= (1 + math.cos(math.pi * min(epoch / run.cosine_horizon, 1))) / 2
        norm, gradient_norm = expected_row["weight_norm"], expected_row["gradient_norm"]
        expected_row |= {
            "epoch": epoch,
            "learning_rate": rate,
            "effective_learning_rate": rate / norm**2,
            "effective_gradient_norm": gradient_norm * norm,
            "effective_step_size": rate * gradient_norm / norm,
        }
        assert row == pytest.approx(expected_row, rel=digits, abs=1e-14)


@pytest.mark.parametrize("name", GOLDEN_SETTINGS)
def test_a_run_equals_an_independent_loop(name: str, make_trainer: MakeTrainer) -> None:
    run = GOLDEN_SETTINGS[name]
    assert_equals_reference(make_trainer(run), run, GOLDEN_EPOCHS, 1e-10)


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
        seed=st.integers(0, 10**6),
    )
)
def test_any_run_equals_an_independent_loop(run: Settings, make_trainer: MakeTrainer) -> None:
    # Wider tolerance than above: some of these runs amplify differences.
    assert_equals_reference(make_trainer(run), run, 2, 1e-8)


@pytest.mark.parametrize("name", GOLDEN_SETTINGS)
def test_a_run_equals_the_committed_curves(name: str, make_trainer: MakeTrainer) -> None:
    record = trained(make_trainer(GOLDEN_SETTINGS[name]), GOLDEN_EPOCHS)
    golden = json.loads(GOLDEN_FILE.read_text())[name]
    assert set(golden) == set(STEP_QUANTITIES)
    for quantity, curve in golden.items():
        np.testing.assert_allclose(column(record, quantity), curve, rtol=1e-8, err_msg=quantity)


def test_the_memory_layout_does_not_matter(make_trainer: MakeTrainer) -> None:
    run = GOLDEN_SETTINGS["plain"]
    trainer = make_trainer(run, memory_format=torch.channels_last)
    assert_equals_reference(trainer, run, 2, 1e-10)


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
}


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale_invariant", [True, False])
def test_a_resnet_goes_with_every_rule_schedule_loss_augmentation_and_gradient(
    scale_invariant: bool, rule: str, schedule: str, variation: str, make_trainer: MakeTrainer
) -> None:
    """Two epochs of two steps, or with full batches of one."""
    run = Settings(
        model="resnet18",
        width=1,
        scale_invariant=scale_invariant,
        batch_size=36,
        **RULES[rule],
        **SCHEDULES[schedule],
        **VARIATIONS[variation],
    )
    trainer = make_trainer(run)
    record = trained(trainer, 2)
    expected = reference_curves(run, 2)
    found, wanted = (np.concatenate(curves.steps) for curves in (record, expected))
    # Adam divides by the root of the second moment, which a gradient of next to nothing makes tiny.
    digits = 1e-4 if rule == "adam" else 1e-8
    np.testing.assert_allclose(found, wanted, rtol=digits, atol=1e-12)
    last, wanted_last = record.metrics[-1], expected.metrics[-1]
    for name in ("train_loss", "train_error", "weight_norm", "test_loss", "test_error"):
        assert last[name] == pytest.approx(wanted_last[name], rel=digits, abs=1e-12), name


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale_invariant", [True, False])
def test_a_resnet_forks_from_a_checkpoint(
    scale_invariant: bool, rule: str, make_trainer: MakeTrainer, few_images: ArrayDataset
) -> None:
    """The fork's first epoch is the parent's course from there on, with a fresh optimiser."""
    run = Settings(
        model="resnet18", width=2, scale_invariant=scale_invariant, batch_size=36, **RULES[rule]
    )
    parent = make_trainer(run)
    parent.train_epoch(0)
    kept = dict(parent.model.named_parameters()) | dict(parent.model.named_buffers())
    start = {
        name: value.detach().numpy().copy()
        for name, value in kept.items()
        if name in parent.parameters.names or name.endswith(("running_mean", "running_var"))
    }
    fork = Trainer(parent.spec, few_images, parent.execution, start)
    for value in parent.optimiser.state.values():
        value.zero_()
    assert np.array_equal(fork.train_epoch(0), parent.train_epoch(0))
    assert fork.metrics(1) == parent.metrics(1)


# The papers' equations along a run


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_norm_and_angle_of_a_scale_invariant_run_obey_the_papers(
    momentum: float, make_trainer: MakeTrainer
) -> None:
    run = Settings(learning_rate=0.3, weight_decay=0.05, momentum=momentum)
    trainer = make_trainer(run)
    for module in trainer.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = NEGLIGIBLE  # with it, invariance only holds approximately
    record = trained(trainer, 4)
    gradient_norm, weight_norm, distance = (column(record, name) for name in STEP_QUANTITIES[1:])
    before, after = weight_norm[:-1], weight_norm[1:]
    rate, decay, g = run.learning_rate, run.weight_decay, gradient_norm[:-1]

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
    np.testing.assert_allclose(distance[:-1], 2 * np.sin(angle / 2) ** 2, rtol=1e-9)


def test_on_the_sphere_the_norm_stays(make_trainer: MakeTrainer) -> None:
    record = trained(make_trainer(Settings(norm=2.5, learning_rate=0.5)), 2)
    np.testing.assert_allclose(column(record, "weight_norm"), 2.5, rtol=1e-12)
    assert [row["weight_norm"] for row in record.metrics] == pytest.approx([2.5] * 3, rel=1e-12)


def test_the_frozen_head_stays(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Settings(learning_rate=0.5, weight_decay=0.1))
    head = [p.clone() for p in trainer.model.parameters() if not p.requires_grad]
    trained(trainer, 1)
    frozen = [p for p in trainer.model.parameters() if not p.requires_grad]
    assert len(frozen) == 2
    assert all(torch.equal(one, other) for one, other in zip(head, frozen, strict=True))


# Randomness


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    make_trainer: MakeTrainer,
) -> None:
    run = Settings(learning_rate=0.3)
    first, second, other = (
        make_trainer(replace(run, seed=seed), precision="float32") for seed in (0, 0, 1)
    )
    records = []
    for trainer in (first, second, other):
        torch.manual_seed(len(records))  # the global random state has no say
        records.append(trained(trainer, 2))
    assert np.array_equal(np.concatenate(records[0].steps), np.concatenate(records[1].steps))
    assert records[0].metrics == records[1].metrics
    assert all(torch.equal(value, second.state()[name]) for name, value in first.state().items())
    assert not (column(records[0], "loss") == column(records[2], "loss")).any()


def test_the_order_of_the_data_changes_with_the_epoch(make_trainer: MakeTrainer) -> None:
    # With a learning rate of (almost) nothing, only the order can change the losses.
    record = trained(make_trainer(Settings(learning_rate=1e-13, weight_decay=0.0)), 2)
    first, second = record.steps[0][:, 0], record.steps[1][:, 0]
    assert np.abs(first - second).min() > 1e-6


# Runs that stop


def assert_valid(record: RunRecord) -> None:
    """Tables of the documented form, whose last loss alone is not finite."""
    metrics, steps = record.metrics_table(), record.steps_table()
    assert tuple(metrics.columns) == METRICS_COLUMNS
    assert metrics["epoch"].tolist() == list(range(record.epochs + 1))
    assert steps["step"].tolist() == list(range(len(steps)))
    assert len(steps) == record.stopped_at_step + 1
    assert steps["epoch"].max() == record.epochs
    assert np.isfinite(steps["loss"].iloc[:-1]).all()
    assert not np.isfinite(steps["loss"].iloc[-1])


@pytest.mark.parametrize("learning_rate", [1e10, 1e30])
def test_a_diverging_run_stops_with_a_record(
    learning_rate: float, make_trainer: MakeTrainer
) -> None:
    run = Settings(scale_invariant=False, learning_rate=learning_rate)
    trainer = make_trainer(run, precision="float32")
    calls: list[int] = []
    record = RunRecord()
    train(trainer, 50, record, Calls(lambda record: calls.append(record.epochs)))
    assert record.stopped_at_step is not None
    assert record.epochs < 50
    assert calls == list(range(record.epochs + 1))
    assert_valid(record)
    # It stays stopped.
    train(trainer, 60, record)
    assert calls == list(range(record.epochs + 1))
    assert_valid(record)


@pytest.mark.parametrize("done", [0, 2])
def test_weights_that_are_not_numbers_stop_the_run_at_once(
    done: int, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(Settings(), precision="float32")
    record = RunRecord()
    train(trainer, done, record)
    trainer.parameters.values[3] = math.nan
    train(trainer, 5, record)
    assert record.stopped_at_step == done * 4
    assert record.epochs == done + 1
    assert_valid(record)


def test_a_divergence_in_the_very_last_step_is_recorded(make_trainer: MakeTrainer) -> None:
    run = Settings(width=1, scale_invariant=False, learning_rate=1e7)
    trainer = make_trainer(run, precision="float32")
    steps = trainer.train_epoch
    last_step_diverges = np.array([[1.0, 1.0, 1.0, 0.0]])

    def train_epoch(epoch: int, *others: Any) -> np.ndarray:
        steps(epoch)
        trainer.parameters.values[0] = math.nan
        return last_step_diverges

    trainer.train_epoch = train_epoch  # type: ignore[method-assign]
    record = trained(trainer, 3)
    assert record.epochs == 1
    assert record.stopped_at_step == 1
    assert math.isnan(record.metrics[-1]["train_loss"])


def test_a_norm_of_zero_is_a_result(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Settings())
    trainer.parameters.values.zero_()
    row = trainer.metrics(0)
    assert row["weight_norm"] == 0
    assert row["effective_learning_rate"] == math.inf


# The course of a run


def test_a_callback_follows_the_initial_metrics_and_every_epoch(make_trainer: MakeTrainer) -> None:
    seen: list[tuple[int, int]] = []
    record = RunRecord()
    trainer = make_trainer(Settings())
    train(trainer, 3, record, Calls(lambda r: seen.append((r.epochs, len(r.metrics)))))
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 4)]
    train(trainer, 3, record, Calls(lambda r: seen.append((r.epochs, len(r.metrics)))))
    assert len(seen) == 4
    train(trainer, 4, record, Calls(lambda r: seen.append((r.epochs, len(r.metrics)))))
    assert seen[4:] == [(4, 5)]


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 70), (20, 4), (35, 2), (70, 1), (71, 1)])
@pytest.mark.parametrize("full_batch", [False, True])
def test_an_epoch_has_a_step_for_every_batch_or_one_for_all(
    batch_size: int, steps: int, full_batch: bool, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(Settings(width=1, batch_size=batch_size, full_batch=full_batch))
    steps = 1 if full_batch else steps
    assert trainer.steps_per_epoch == steps
    rows = trainer.train_epoch(0)
    assert rows.shape == (steps, 4)
    # Nothing is left to be taken, and nothing is taken twice.
    weights = trainer.parameters.values.clone()
    assert np.array_equal(trainer.train_epoch(0, rows), rows)
    assert torch.equal(trainer.parameters.values, weights)


@pytest.mark.parametrize("batch_size", [1, 3, 23, 69])
def test_a_last_batch_too_small_for_batch_norm_is_refused(
    batch_size: int, make_trainer: MakeTrainer
) -> None:
    """Of 8x8 images the ResNet's last maps have one pixel, those of the ConvNet four."""
    with pytest.raises(PerigeeError, match=f"'batch_size' is {batch_size}, .* of 70 .* has one"):
        make_trainer(Settings(width=1, model="resnet18", batch_size=batch_size))
    make_trainer(Settings(width=1, batch_size=batch_size))
    make_trainer(Settings(width=1, model="resnet18", batch_size=batch_size + 1))


def test_measuring_does_not_change_the_run(make_trainer: MakeTrainer) -> None:
    run = Settings(momentum=0.9)
    watched, unwatched = make_trainer(run), make_trainer(run)
    for epoch in range(2):
        watched.metrics(epoch)
        unwatched.train_epoch(epoch)
        watched.train_epoch(epoch)
    for name, value in watched.state().items():
        assert torch.equal(value, unwatched.state()[name]), name


@pytest.mark.parametrize("name", GOLDEN_SETTINGS)
def test_state_is_all_that_training_on_needs(name: str, make_trainer: MakeTrainer) -> None:
    trainer, fresh = (make_trainer(GOLDEN_SETTINGS[name], "float32") for _ in range(2))
    trainer.train_epoch(0)
    state = trainer.state()
    expected = trainer.train_epoch(1)
    # A copy: training on has not changed it.
    fresh.restore(state)
    assert np.array_equal(fresh.train_epoch(1), expected)
    for key, value in trainer.state().items():
        assert torch.equal(value, fresh.state()[key]), key
