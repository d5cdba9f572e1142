"""perigee.training.metrics against a plain loop over a copy of the network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from reference_training import Settings
from torch import nn
from torch.nn import functional

# By its module: pytest would take `test_metrics` for a test.
from perigee.training import metrics
from perigee.training.trainer import Trainer


@pytest.fixture(params=[True, False], ids=["scale-invariant", "standard"])
def trainer(request: pytest.FixtureRequest, make_trainer: Callable[..., Trainer]) -> Trainer:
    """After an epoch, so that the running statistics are not those of the initialisation."""
    trainer = make_trainer(Settings(scale_invariant=request.param))
    trainer.train_epoch(0)
    return trainer


def measured(trainer: Trainer, batch_size: int) -> metrics.TrainMetrics:
    return metrics.train_metrics(
        trainer.model, trainer.parameters, trainer.loss, trainer.data.train, batch_size
    )


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("batch_size", [20, 35, 70, 100])
def test_train_metrics_are_those_of_a_plain_loop(trainer: Trainer, batch_size: int) -> None:
    images, labels = trainer.data.train.images, trainer.data.train.labels
    model = copy.deepcopy(trainer.model).train()
    weights = [parameter for parameter in model.parameters() if parameter.dim() == 4]
    losses, wrong, norms = [], 0, []
    for start in range(0, 70, batch_size):
        batch = slice(start, start + batch_size)
        logits = model(images[batch])
        mean_loss = functional.cross_entropy(logits, labels[batch])
        squares = [float((g**2).sum()) for g in torch.autograd.grad(mean_loss, weights)]
        norms.append(sum(squares) ** 0.5)
        chosen = torch.log_softmax(logits.detach(), dim=1)[range(len(logits)), labels[batch]]
        losses += (-chosen).tolist()
        wrong += int((logits.argmax(dim=1) != labels[batch]).sum())

    found = measured(trainer, batch_size)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-12)
    assert found.error == wrong / 70
    assert found.gradient_norm == pytest.approx(np.mean(norms), rel=1e-10)


def test_train_metrics_leave_the_network_as_it_is(trainer: Trainer) -> None:
    before = snapshot(trainer.model)
    measured(trainer, 20)
    assert_unchanged(trainer.model, before)
    # And its BatchNorm keeps track again afterwards.
    trainer.model.train()
    trainer.model(trainer.data.train.images)
    changed = snapshot(trainer.model)
    for name, value in changed.items():
        if name.endswith(("running_mean", "running_var")):
            assert not torch.equal(value, before[name])
        if name.endswith("num_batches_tracked"):
            assert value == before[name] + 1


def test_statistics_are_tracked_again_after_an_error(trainer: Trainer) -> None:
    before = snapshot(trainer.model)

    def interrupted() -> None:
        with metrics.running_statistics_left_alone(trainer.model):
            trainer.model(trainer.data.train.images)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_unchanged(trainer.model, before)
    trainer.model(trainer.data.train.images)
    assert not all(
        torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items()
    )


def test_batch_norm_that_never_tracked_does_not_start_to() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    with metrics.running_statistics_left_alone(model):
        model(torch.randn(4, 2))
    assert [module.track_running_stats for module in model] == [True, False]


def by_running_statistics(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The network in eval mode, BatchNorm written out."""
    activations, number = images, 0
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            activations = functional.conv2d(activations, module.weight, padding=1)
        if isinstance(module, nn.BatchNorm2d):
            shape = (1, -1, 1, 1)
            mean, variance = module.running_mean.view(shape), module.running_var.view(shape)
            activations = (activations - mean) / torch.sqrt(variance + 1e-5)
            if module.affine:
                activations = activations * module.weight.view(shape) + module.bias.view(shape)
            activations = activations.clamp(min=0)
            number += 1
            if number > 1:
                activations = functional.max_pool2d(activations, 2)
        if isinstance(module, nn.Linear):
            return module(activations.amax(dim=(2, 3)))
    raise AssertionError("no head")


@torch.no_grad()
def test_test_metrics_use_running_statistics(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = trainer.data.test
    logits = by_running_statistics(trainer.model, split.images)
    loss = -torch.log_softmax(logits, dim=1)[range(30), split.labels].mean()
    error = (logits.argmax(dim=1) != split.labels).double().mean()
    for images_at_once in (metrics.EVALUATION_BATCH, 7, 1):
        monkeypatch.setattr(metrics, "EVALUATION_BATCH", images_at_once)
        before = snapshot(trainer.model)
        found = metrics.test_metrics(trainer.model, split)
        assert found.loss == pytest.approx(float(loss), rel=1e-10)
        assert found.error == pytest.approx(float(error), abs=1e-15)
        assert_unchanged(trainer.model, before)
