"""Training by an effective learning rate against eq. (2) of Kodryan et al. 2022 written out."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.nn import functional

from perigee.blocks.measures import Checkpoints, Metrics, Steps
from perigee.errors import PerigeeError
from perigee.kernel.flat import FlatParameters
from perigee.kernel.optimisers.projected_sgd import ProjectedSGD
from perigee.kernel.trainer import Moment
from perigee.spec import RunSpec
from perigee.store.provenance import read_provenance
from support.reference_training import (
    CLASSES,
    Settings,
    arrays_of,
    convolutions,
    few_digits,
    joined,
    normalised,
    plain_network,
)
from support.runs import make_spec, make_trainer
from support.stores import Store
from support.vectors import flat, rates, seeds, step, targets

SETTINGS = Settings(width=2, batch_size=20, seed=3)
RATE, OTHER_RATE = 0.02, 0.005
EPOCHS, FORK_EPOCH, STEPS = 4, 2, 4
"""The epochs of a parent, that of its fork, and the steps of an epoch: 70 images in batches."""


def spec(rate: float = RATE, norm: float | None = None, **changes: Any) -> RunSpec:
    """A run on a sphere, of the initial norm if no other is given."""
    constraint = {"name": "fixed_norm", **({} if norm is None else {"norm": norm})}
    plain: dict[str, Any] = {"optimiser": projected(rate), "constraint": constraint}
    return make_spec(SETTINGS, **{**plain, **changes})


def projected(rate: float) -> dict[str, Any]:
    return {"name": "projected_sgd", "effective_learning_rate": rate}


# Against an independent computation


def batches(steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The images and labels of the first steps of the first epoch."""
    images, labels = few_digits()[:2]
    order = np.random.default_rng((SETTINGS.seed, 0)).permutation(len(labels))
    size = SETTINGS.batch_size
    chosen = [order[number * size : (number + 1) * size] for number in range(steps)]
    return [(normalised(images[c]), torch.tensor(labels[c].astype(np.int64))) for c in chosen]


def put(vector: np.ndarray, weights: list[torch.Tensor]) -> None:
    """Replace weights by the numbers of a vector."""
    sizes = np.cumsum([weight.numel() for weight in weights])[:-1]
    with torch.no_grad():
        for weight, part in zip(weights, np.split(vector, sizes), strict=True):
            weight.copy_(torch.from_numpy(part).view(weight.shape))


@pytest.mark.parametrize("norm", [None, 3.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_three_steps_are_those_of_equation_2(
    norm: float | None, layout: torch.memory_format
) -> None:
    network = plain_network(1, CLASSES, SETTINGS.width, True, SETTINGS.seed).double()
    weights = convolutions(network)
    theta = joined(arrays_of(weights))
    rho = np.linalg.norm(theta) if norm is None else norm
    theta *= rho / np.linalg.norm(theta)
    trainer = make_trainer(spec(norm=norm), memory_format=layout)
    moments = (one for one in trainer.epoch(0) if one is Moment.STEP)
    for images, labels in batches(3):
        put(theta, weights)
        loss = functional.cross_entropy(network(images), labels)
        gradient = joined(arrays_of(list(torch.autograd.grad(loss, weights))))
        eta = RATE * rho**2
        theta_hat = theta - eta * gradient
        theta = theta_hat * rho / np.linalg.norm(theta_hat)

        assert len(list(islice(moments, 1))) == 1
        assert trainer.loss.item() == pytest.approx(loss.item(), rel=1e-12)
        assert float(trainer.rate) == pytest.approx(eta, rel=1e-14)
        found = trainer.parameters.strict(trainer.parameters.values).numpy()
        np.testing.assert_allclose(found, theta, rtol=0, atol=1e-12 * np.abs(theta).max())
        assert np.linalg.norm(found) == pytest.approx(rho, rel=1e-14)


@settings(max_examples=20)
@given(learning_rate=rates, seed=seeds)
def test_the_update_rule_is_the_first_line_of_equation_2(learning_rate: float, seed: int) -> None:
    point, gradient = targets(seed, 1)
    parameters = flat(point)
    rule = ProjectedSGD(parameters)
    step(rule, parameters, gradient, learning_rate)
    expected = point.numpy() - learning_rate * gradient.numpy()
    np.testing.assert_allclose(parameters.values.numpy(), expected, rtol=1e-13, atol=1e-15)
    assert torch.equal(parameters.gradient, gradient)
    assert rule.state == {}


def test_the_schedule_multiplies_the_effective_learning_rate() -> None:
    trainer = make_trainer(spec(norm=3.0, schedule={"name": "cosine", "horizon": 2}))
    found = [trainer.learning_rate(epoch) for epoch in range(3)]
    assert found == pytest.approx([9 * RATE, 4.5 * RATE, 0], rel=1e-14, abs=1e-14)


def test_the_effective_learning_rate_stays(tmp_path: Path) -> None:
    store, run = Store(tmp_path), spec(precision="float32")
    rows = store.rows(run, store.train(run, EPOCHS, Metrics()), Metrics())
    np.testing.assert_allclose(rows["effective_learning_rate"], RATE, rtol=1e-5)
    np.testing.assert_allclose(rows["weight_norm"], rows["weight_norm"][0], rtol=1e-6)


# Forks


def fork_of(parent: RunSpec, epoch: int, **changes: Any) -> RunSpec:
    at = {"name": "at_epoch", "epoch": epoch}
    told = {"run": parent.to_dict(), "epochs": EPOCHS, "at": at}
    return RunSpec.from_dict({**parent.to_dict(), **changes, "parent": told})


@pytest.mark.parametrize("epoch", [FORK_EPOCH, EPOCHS])
@pytest.mark.parametrize("constraint", ["fixed_norm", "equal_filter_norms"])
def test_a_fork_with_the_same_rate_continues_its_parent(
    constraint: str, epoch: int, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    parent = spec(precision="float32", constraint={"name": constraint})
    store.train(parent, EPOCHS, Checkpoints(interval=epoch))
    fork = fork_of(parent, epoch)
    version, longer = store.train(fork, 2, Steps()), store.train(parent, epoch + 2, Steps())
    weights, expected = (np.load(one / "weights.npy")["sha256"] for one in (version, longer))
    assert weights.tolist() == expected[epoch:].tolist()
    steps = store.rows(parent, longer, Steps())[epoch * STEPS :]
    assert store.rows(fork, version, Steps()).tobytes() == steps.tobytes()
    assert read_provenance(version).details["fork_epoch"] == epoch


def test_a_fork_with_another_rate_keeps_the_radius(tmp_path: Path) -> None:
    store, parent = Store(tmp_path), spec()
    longer = store.train(parent, EPOCHS + 1, Steps(), Metrics(), Checkpoints(interval=FORK_EPOCH))
    fork = fork_of(parent, FORK_EPOCH, optimiser=projected(OTHER_RATE))
    version = store.train(fork, EPOCHS - FORK_EPOCH, Steps(), Metrics())
    before, after = (store.rows(*one, Metrics()) for one in ((parent, longer), (fork, version)))
    radius = before["weight_norm"][0]
    np.testing.assert_allclose(after["weight_norm"], radius, rtol=1e-12)
    np.testing.assert_allclose(after["learning_rate"], OTHER_RATE * radius**2, rtol=1e-12)
    np.testing.assert_allclose(after["effective_learning_rate"], OTHER_RATE, rtol=1e-12)
    assert after["train_loss"][0] == before["train_loss"][FORK_EPOCH]
    first = store.rows(fork, version, Steps())[0]
    same = store.rows(parent, longer, Steps())[FORK_EPOCH * STEPS]
    for name in ("loss", "weight_norm", "gradient_norm"):
        assert first[name] == same[name]
    # By eq. (2) the angle of a step, whose gradient is tangential, has the tangent ELR * g~.
    ratio = np.tan(np.arccos(1 - first["cosine_distance"])) / (first["gradient_norm"] * radius)
    assert ratio == pytest.approx(OTHER_RATE, rel=1e-3)


def test_a_network_without_scale_invariant_weights_is_refused() -> None:
    with pytest.raises(PerigeeError, match="of which this network has none; choose another model"):
        ProjectedSGD(cast("FlatParameters", SimpleNamespace(weight_names=())))
