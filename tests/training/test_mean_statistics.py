"""perigee.kernel.mean_statistics and what tests by it, against plain PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from perigee.blocks.measures import (
    Checkpoints,
    Measure,
    Metrics,
    RecomputedMetrics,
    RecomputedTestHits,
    TestHits,
)
from perigee.checkpoints import KeptCheckpoints
from perigee.data import digits
from perigee.data.arrays import ArrayDataset
from perigee.evaluation.base import EvaluationInput
from perigee.evaluation.files import Predictions
from perigee.evaluation.recomputed_predictions import RecomputedPredictions
from perigee.kernel.mean_statistics import MeanStatistics, statistics_of_training_set
from perigee.kernel.ranks import Ranks
from perigee.kernel.trainer import Trainer
from perigee.measures.metrics import COLUMNS
from support.rank_processes import on_ranks
from support.recorded import live, recorded
from support.reference_training import Settings
from support.runs import few_images, make_trainer
from support.synthetic_runs import write_measure

RUNS = {
    "scale-invariant": Settings(width=2, learning_rate=0.5, batch_size=33),
    "standard": Settings(width=1, scale_invariant=False, momentum=0.9, batch_size=23),
    "resnet": Settings(model="resnet18", width=1, batch_size=32),
}
"""Runs whose last mini-batch, of 70 training images, has 4, 1 and 6."""


def trained(run: Settings, epochs: int = 2) -> Trainer:
    trainer = make_trainer(run)
    for epoch in range(epochs):
        for _ in trainer.epoch(epoch):
            pass
    return trainer


def images_of(trainer: Trainer, split: str) -> tuple[Tensor, Tensor]:
    data = trainer.task.splits[split]  # type: ignore[attr-defined]
    return data.images, data.labels


def normalisations(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def by_a_plain_loop(trainer: Trainer) -> nn.Module:
    """A copy of the network with statistics from the inputs of each layer in every mini-batch."""
    network = copy.deepcopy(trainer.model).train()
    found: dict[nn.Module, list[tuple[int, Tensor, Tensor]]] = {}

    def look(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].detach().transpose(0, 1).flatten(1)
        statistics = (len(inputs[0]), values.mean(dim=1), values.var(dim=1, unbiased=True))
        found.setdefault(layer, []).append(statistics)

    for layer in normalisations(network):
        layer.register_forward_pre_hook(look)
    for batch in images_of(trainer, "train")[0].split(trainer.spec.batch_size):
        network(batch)
    for layer, rows in found.items():
        images = sum(count for count, _, _ in rows)
        layer.running_mean = sum((count / images) * mean for count, mean, _ in rows)
        layer.running_var = sum((count / images) * variance for count, _, variance in rows)
    return network.eval()


@pytest.mark.parametrize("name", RUNS)
def test_they_are_those_of_a_plain_loop(name: str) -> None:
    trainer = trained(RUNS[name])
    expected = list(normalisations(by_a_plain_loop(trainer)))
    with statistics_of_training_set(trainer).in_use():
        for layer, other in zip(normalisations(trainer.model), expected, strict=True):
            for statistic in ("running_mean", "running_var"):
                found, wanted = getattr(layer, statistic), getattr(other, statistic)
                torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


def test_with_equal_mini_batches_they_are_those_of_pytorchs_update_bn() -> None:
    trainer = trained(replace(RUNS["standard"], batch_size=35))
    network = copy.deepcopy(trainer.model)
    update_bn(images_of(trainer, "train")[0].split(35), network)
    with statistics_of_training_set(trainer).in_use():
        for layer, other in zip(
            normalisations(trainer.model), normalisations(network), strict=True
        ):
            torch.testing.assert_close(layer.running_mean, other.running_mean)
            torch.testing.assert_close(layer.running_var, other.running_var)


def measured(trainer: Trainer, block: Measure) -> np.ndarray:
    rows = live(trainer, block)[block.name].after_epoch(2, False)
    assert rows is not None
    return rows


@pytest.mark.parametrize("name", RUNS)
def test_metrics_and_hits_are_those_of_a_network_with_statistics_by_hand(name: str) -> None:
    trainer = trained(RUNS[name])
    network, (images, labels) = by_a_plain_loop(trainer), images_of(trainer, "test")
    with torch.no_grad():
        logits = network(images)
    by_recomputed, by_running, hits, running_hits = (
        measured(trainer, block)
        for block in (RecomputedMetrics(), Metrics(), RecomputedTestHits(), TestHits())
    )
    loss = functional.cross_entropy(logits, labels).item()
    assert by_recomputed["test_loss"].item() == pytest.approx(loss, rel=1e-10)
    right = (logits.argmax(dim=1) == labels).numpy()
    assert by_recomputed["test_error"].item() == (~right).mean()
    assert np.array_equal(hits["test_hits"][0], right)
    # All else is as with running statistics.
    for column in set(COLUMNS) - {"test_loss", "test_error"}:
        assert by_recomputed[column] == by_running[column], column
    assert by_recomputed["test_loss"] != by_running["test_loss"]
    assert 1 - running_hits["test_hits"].mean() == pytest.approx(by_running["test_error"].item())
    trainer.model.eval()
    with torch.no_grad():
        expected = trainer.model(images).argmax(dim=1) == labels
    assert np.array_equal(running_hits["test_hits"][0], expected.numpy())


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_runs_own_statistics_are_left_alone(interrupted: bool) -> None:
    trainer = trained(RUNS["scale-invariant"])
    own = dict(trainer.model.named_buffers())
    before = {name: value.clone() for name, value in own.items()}
    measure = live(trainer, RecomputedMetrics())["recomputed_metrics"]
    looks = 0

    def stop() -> None:
        nonlocal looks
        looks += 1
        if looks == 4:  # after three mini-batches of training images, the first for testing
            raise KeyboardInterrupt

    if interrupted:
        measure.pause = stop
        with pytest.raises(KeyboardInterrupt):
            measure.after_epoch(2, False)
    else:
        measure.after_epoch(2, False)
    for name, value in trainer.model.named_buffers():
        assert value is own[name], "the same tensor"
        assert torch.equal(value, before[name])
    assert not any(module._forward_pre_hooks for module in trainer.model.modules())
    assert all(layer.track_running_stats for layer in normalisations(trainer.model))


def test_other_weights_are_measured_anew() -> None:
    trainer = trained(RUNS["scale-invariant"])
    measure = live(trainer, RecomputedMetrics())["recomputed_metrics"]
    first, again = (measure.after_epoch(2, False) for _ in range(2))
    assert first == again
    trainer.parameters.values[0] += 1
    assert measure.after_epoch(2, False) != first


def test_mini_batches_of_eval_mode_do_not_count() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    own = model[0].running_mean
    statistics = MeanStatistics(model, Ranks.alone())
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    with statistics.collected():
        model.eval()(values)
    with statistics.in_use():
        assert model[0].running_mean is own, "there is nothing to put in its place"
    with statistics.collected():
        model.train()(values)
    with statistics.in_use():
        assert model[0].running_mean.tolist() == [2, 5]
        assert model[0].running_var.tolist() == [2, 0]
    assert model[0].running_mean is own


def test_a_network_without_batch_norm_stays_as_it_is() -> None:
    model = nn.Linear(2, 1)
    statistics = MeanStatistics(model, Ranks.alone())
    with statistics.collected():
        model(torch.ones(3, 2))
    with statistics.in_use():
        assert not list(model.buffers())


def collected_by(ranks: Ranks) -> list[np.ndarray]:
    """The statistics, a row of metrics, and hits by both statistics."""
    trainer = make_trainer(RUNS["scale-invariant"], ranks=ranks)
    with statistics_of_training_set(trainer).in_use():
        found = [value.numpy().copy() for value in trainer.model.buffers() if value.dim()]
    row = measured(trainer, RecomputedMetrics())[list(COLUMNS)].tolist()[0]
    hits = (
        measured(trainer, block)["test_hits"][0] for block in (RecomputedTestHits(), TestHits())
    )
    return [*found, np.array(row), *hits]


def test_ranks_collect_what_one_process_collects() -> None:
    expected = collected_by(Ranks.alone())
    first, second = on_ranks(collected_by, 2)
    for one, other, wanted in zip(first, second, expected, strict=True):
        assert one.tobytes() == other.tobytes()
        np.testing.assert_allclose(one, wanted, rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def readable() -> ArrayDataset:
    return digits.build(Path("/nonexistent"), False, train_images=400)


def test_at_a_high_learning_rate_running_statistics_are_stale(readable: ArrayDataset) -> None:
    """Four large steps an epoch: by running statistics two thirds of the test images are wrong."""
    trainer = make_trainer(
        Settings(width=4, learning_rate=3, weight_decay=0.01, batch_size=128, seed=101),
        "float32",
        torch.channels_last,
        readable,
    )
    row, other = (
        found[-1]
        for found in recorded(trainer, 10, Metrics(), RecomputedMetrics()).rows.values()
        if "test_error" in (found.dtype.names or ())
    )
    assert row["train_error"] == other["train_error"] < 0.3
    assert row["test_error"] > other["train_error"] + 0.2
    assert other["test_error"] == pytest.approx(other["train_error"], abs=0.1)


def test_predictions_agree_with_the_metrics(tmp_path: Path) -> None:
    run = RUNS["scale-invariant"]
    trainer = make_trainer(run)
    found = recorded(trainer, 3, RecomputedMetrics(), RecomputedTestHits(), Checkpoints())
    kept = tmp_path / "checkpoints"
    write_measure(kept, found.rows["checkpoints"], **found.descriptions["checkpoints"])
    checkpoints = KeptCheckpoints.of_measure(kept)
    given = EvaluationInput(
        trainer.spec, few_images(), trainer.execution, checkpoints, lambda done: None
    )
    RecomputedPredictions().write(given, tmp_path)
    predictions = Predictions.load(tmp_path)
    assert predictions.epochs == (0, 1, 2, 3)
    right = predictions.probabilities.argmax(axis=2) == predictions.labels
    assert np.array_equal(right, found.rows["recomputed_test_hits"]["test_hits"])
    errors = 1 - right.mean(axis=1)
    np.testing.assert_allclose(errors, found.rows["recomputed_metrics"]["test_error"])
    own = -np.log(
        np.take_along_axis(
            predictions.probabilities, predictions.labels.astype(int)[None, :, None], axis=2
        )
    ).mean(axis=(1, 2))
    np.testing.assert_allclose(own, found.rows["recomputed_metrics"]["test_loss"], rtol=1e-5)
