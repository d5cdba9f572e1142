"""perigee.measures against the independent loop, and what measuring must not change."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perigee.blocks.measures import (
    Checkpoints,
    Filters,
    FullGradientNorm,
    Layers,
    Metrics,
    Steps,
    ThinnedLayers,
)
from perigee.errors import PerigeeError
from perigee.models import convnet
from perigee.models.declaration import ScaleInvariantWeights
from support.recorded import EVERY_MEASURE, recorded
from support.reference_training import GOLDEN_SETTINGS, Settings, angle, joined, reference_curves
from support.runs import few_images, make_trainer

LAYOUTS = (torch.contiguous_format, torch.channels_last)

RUNS = {
    "plain": Settings(learning_rate=0.5, weight_decay=0.05),
    "momentum": Settings(momentum=0.9, seed=1),
    "standard": Settings(scale_invariant=False, momentum=0.5, weight_decay=0.02, seed=2),
    "sphere": Settings(norm=3.0, momentum=0.9, width=3, seed=3),
    "full batch": Settings(full_batch=True, momentum=0.9, padding=1),
    "adam": Settings(optimiser="adam", learning_rate=0.01, scale_invariant=False),
}
EPOCHS = 2

# Metrics, steps and full_gradient_norm: see test_trainer.py, for every golden run.


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", RUNS)
def test_layers_are_those_of_the_reference(name: str, layout: torch.memory_format) -> None:
    run = RUNS[name]
    trainer = make_trainer(run, memory_format=layout)
    found = recorded(trainer, EPOCHS, Layers())
    expected = np.concatenate(reference_curves(run, EPOCHS).layers)
    rows = found.rows["layers"]
    names = ["norm", "gradient_norm", "angular_update"]
    if run.momentum:
        names.append("velocity_gradient")
    assert list(rows.dtype.names) == names
    assert found.descriptions["layers"]["layers"] == [
        name for name, p in trainer.model.named_parameters() if p.dim() == 4
    ]
    for number, quantity in enumerate(names):
        # Inner products and Adam's first steps have errors of the size of what they are made of.
        size = np.abs(expected[..., number]).max()
        np.testing.assert_allclose(
            rows[quantity], expected[..., number], 1e-10, 1e-12 * size, err_msg=quantity
        )
    # All tensors together.
    steps = recorded(make_trainer(run, memory_format=layout), EPOCHS, Steps()).rows["steps"]
    whole = np.sqrt((rows["norm"] ** 2).sum(axis=1))
    np.testing.assert_allclose(whole, steps["weight_norm"], rtol=1e-12)


@pytest.mark.parametrize("learning_rate", [1e-5, 1e-3, 0.1])
def test_angles_of_float32_weights_are_right_however_small(learning_rate: float) -> None:
    """They agree with the weights, which a run with one step per epoch keeps at every step."""
    run = Settings(learning_rate=learning_rate, weight_decay=0.01, batch_size=128)
    found = recorded(make_trainer(run, "float32"), 3, Layers(), Checkpoints())
    layers = found.descriptions["layers"]["layers"]
    largest = []
    for epoch, row in enumerate(found.rows["layers"]):
        before, after = (found.checkpoint(number) for number in (epoch, epoch + 1))
        for number, name in enumerate(layers):
            weights = [np.float64(state[f"model.{name}"]) for state in (before, after)]
            assert row["norm"][number] == pytest.approx(np.linalg.norm(weights[0]), rel=1e-6)
            expected = angle(*weights)
            assert row["angular_update"][number] == pytest.approx(expected, rel=1e-5, abs=3e-8)
            largest.append(expected)
    if learning_rate == 1e-5:
        assert 1e-6 < max(largest) < 1e-3


NAMES_OF_STATES = {
    "optimiser.velocity": "momentum_buffer",
    "optimiser.first_moment": "exp_avg",
    "optimiser.second_moment": "exp_avg_sq",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", RUNS)
def test_checkpoints_are_the_states_of_the_reference(
    name: str, layout: torch.memory_format
) -> None:
    """Weights, statistics, and what the optimiser keeps, in whatever layout it was computed."""
    run = RUNS[name]
    trainer = make_trainer(run, memory_format=layout)
    found = recorded(trainer, EPOCHS, Checkpoints())
    states = reference_curves(run, EPOCHS).states
    trained = [f"model.{n}" for n, p in trainer.model.named_parameters() if p.requires_grad]
    in_flat_order = [trained.index(f"model.{n}") for n in trainer.parameters.names]
    statistics = [f"model.{n}" for n, b in trainer.model.named_buffers() if b.is_floating_point()]
    assert found.rows["checkpoints"]["epoch"].tolist() == [0, 1, 2]
    assert found.rows["checkpoints"]["values"].dtype == np.float64
    for epoch, state in enumerate(states):
        kept = found.checkpoint(epoch)
        for names, expected in ((trained, state["trained"]), (statistics, state["statistics"])):
            for tensor, value in zip(names, expected, strict=True):
                np.testing.assert_allclose(kept.pop(tensor), value, 1e-9, 1e-12, err_msg=tensor)
        for ours, theirs in NAMES_OF_STATES.items():
            if ours in kept:
                parts = state.get(theirs)  # PyTorch makes them in the first step
                vector = kept.pop(ours)
                if parts is None:
                    assert not vector.any()
                else:
                    expected = joined([parts[number] for number in in_flat_order])
                    np.testing.assert_allclose(vector, expected, 1e-9, 1e-12, err_msg=ours)
        if run.norm is not None:
            assert kept.pop("constraint.radius") == pytest.approx(run.norm)
        if run.optimiser == "adam":
            assert kept.pop("optimiser.steps") == epoch * trainer.task.steps_per_epoch
        assert not kept, "and nothing else: frozen weights belong to the spec"


def test_the_scale_invariant_weights_stand_first() -> None:
    trainer = make_trainer(Settings(width=1, scale_invariant=False, momentum=0.9))
    parts = recorded(trainer, 1, Checkpoints()).descriptions["checkpoints"]["parts"]
    names = [part["name"].removeprefix("model.") for part in parts]
    weights = trainer.parameters.weight_names
    assert names[: len(weights)] == list(weights)
    assert [part["scale_invariant"] for part in parts] == [name in weights for name in names]
    assert names[: len(trainer.parameters.names)] == list(trainer.parameters.names)


@pytest.mark.parametrize(
    ("epochs", "interval", "kept"),
    [(3, 2, [0, 2, 3]), (4, 2, [0, 2, 4]), (2, 1, [0, 1, 2]), (2, 5, [0, 2]), (3, 3, [0, 3])],
)
def test_first_last_and_every_so_many_epochs_are_kept(
    epochs: int, interval: int, kept: list[int]
) -> None:
    run = Settings(width=1, momentum=0.5)
    every = recorded(make_trainer(run, "float32"), epochs, Checkpoints()).rows["checkpoints"]
    some = recorded(make_trainer(run, "float32"), epochs, Checkpoints(interval=interval))
    rows = some.rows["checkpoints"]
    assert rows["epoch"].tolist() == kept
    assert rows["values"].dtype == np.float32
    assert np.array_equal(rows, every[kept])
    # Not the same row again and again, as with views instead of copies.
    assert all(not np.array_equal(every["values"][0], row) for row in every["values"][1:])


@pytest.mark.parametrize(
    "name", ["momentum", "sphere", "standard_resnet18", "augmented", "full_batch", "adam"]
)
def test_measuring_changes_no_bit_of_a_run(name: str) -> None:
    run = GOLDEN_SETTINGS.get(name, RUNS["adam"])
    watched, unwatched = (make_trainer(run, "float32") for _ in range(2))
    with_all, without = recorded(watched, 2, *EVERY_MEASURE), recorded(unwatched, 2)
    for log, rows in without.rows.items():
        assert np.array_equal(with_all.rows[log], rows), log
    for tensor, value in unwatched.state().items():
        assert torch.equal(value, watched.state()[tensor]), tensor


def test_each_measure_is_the_same_whatever_others_there_are() -> None:
    run = Settings(momentum=0.9)
    together = recorded(make_trainer(run, "float32"), 2, *EVERY_MEASURE).rows
    for measure in EVERY_MEASURE:
        alone = recorded(make_trainer(run, "float32"), 2, measure).rows
        assert np.array_equal(alone[measure.name], together[measure.name]), measure.name


def test_train_metrics_see_images_in_stored_order_without_augmentation() -> None:
    """So runs of any seed and augmentation are measured alike; here the weights are the same."""
    plain, augmented = (
        recorded(make_trainer(Settings(padding=padding)), 1, Metrics(), FullGradientNorm()).rows
        for padding in (None, 3)
    )
    for name in ("metrics", "full_gradient_norm"):
        assert plain[name][0] == augmented[name][0]
        assert plain[name][1] != augmented[name][1]


def test_a_norm_of_zero_is_a_result() -> None:
    trainer = make_trainer(Settings())
    trainer.parameters.values.zero_()
    row = recorded(trainer, 1, Metrics()).rows["metrics"][0]
    assert row["weight_norm"] == 0
    assert row["effective_learning_rate"] == math.inf


def test_a_network_without_scale_invariant_weights_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convnet, "ScaleInvariantWeights", lambda *_: ScaleInvariantWeights())
    run = Settings(scale_invariant=False)
    of_tensors = (Layers, ThinnedLayers, Filters)
    others = [measure for measure in EVERY_MEASURE if not isinstance(measure, of_tensors)]
    found = recorded(make_trainer(run), 1, *others).rows
    assert (found["metrics"]["weight_norm"] == 0).all()
    assert (found["full_gradient_norm"]["full_gradient_norm"] > 0).all()
    with pytest.raises(PerigeeError, match="'layers' is of scale-invariant weights"):
        recorded(make_trainer(run), 1, Layers())


@pytest.mark.parametrize("split", ["train", "test"])
def test_losses_and_errors_are_means_over_images(split: str) -> None:
    """Not over mini-batches, of which the last is smaller: from logits of the network itself."""
    run = Settings(batch_size=33, learning_rate=0.5)
    trainer = make_trainer(run)
    found = recorded(trainer, 1, Metrics()).rows["metrics"][-1]
    model = trainer.model.train(split == "train")
    labels = few_images().splits[split].labels.astype(int)
    images = trainer.task.splits[split].images  # type: ignore[attr-defined]
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in images.split(33)]).numpy()
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    assert found[f"{split}_loss"] == pytest.approx(losses.mean(), rel=1e-12)
    assert found[f"{split}_error"] == (logits.argmax(axis=1) != labels).mean()
