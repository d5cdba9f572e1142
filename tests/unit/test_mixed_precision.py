"""Precision bfloat16: activations in bfloat16, all that is kept in float32."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from perigee.blocks.measures import Metrics, Steps, TestHits
from perigee.data.building import build_dataset
from perigee.kernel.batch_norm import GlobalBatchNorm
from perigee.kernel.execution import prepare
from perigee.kernel.ranks import Ranks
from perigee.kernel.trainer import Trainer
from perigee.spec import RunSpec
from support import annotated_images, streamed_runs
from support.recorded import recorded
from support.reference_training import Settings
from support.runs import make_spec, make_trainer

HALF = "bfloat16"
RUN = Settings(learning_rate=0.01, width=4)
RESNET = Settings(model="resnet18", learning_rate=0.01, batch_size=35, scale_invariant=False)


@pytest.mark.parametrize("run", [RUN, RESNET], ids=["convnet", "resnet18"])
def test_a_short_run_is_close_to_that_in_float32(run: Settings) -> None:
    found, expected = (
        recorded(make_trainer(run, precision), 2, Metrics(), Steps())
        for precision in (HALF, "float32")
    )
    losses, others = found.rows["losses"], expected.rows["losses"]
    np.testing.assert_allclose(losses[0], others[0], rtol=0.01)
    np.testing.assert_allclose(losses, others, rtol=0.1)
    assert (losses != others).all(), "bfloat16 has 8 bits"
    metrics, others = (one.rows["metrics"] for one in (found, expected))
    for name in ("train_loss", "gradient_norm", "weight_norm"):
        np.testing.assert_allclose(metrics[name][0], others[name][0], rtol=0.05)
    assert metrics["weight_norm"][0] == others["weight_norm"][0], "the same initialisation"


def test_activations_are_bfloat16_and_what_is_kept_is_float32() -> None:
    trainer = make_trainer(RUN, HALF)
    types = {}
    for name, module in trainer.model.named_modules():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: types.update({name: output.dtype})
        )
    trainer.model.train()
    batch = next(trainer.task.batches("train"))
    trainer.add_gradient(batch)
    assert {types[f"features.{n}"] for n in range(8)} == {torch.bfloat16}
    assert types["head"] == types[""] == torch.float32
    assert trainer.loss > 0
    trainer.update(torch.tensor(0.1, dtype=torch.float64))
    kept = trainer.state()
    assert {value.dtype for value in kept.values() if value.is_floating_point()} == {torch.float32}
    assert trainer.parameters.gradient.dtype == trainer.loss.dtype == torch.float32
    assert trainer.parameters.gradient.any()


def test_measures_see_the_network_that_is_trained() -> None:
    trainer = make_trainer(RUN, HALF)
    seen = set()
    first = next(m for m in trainer.model.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda module, _, out: seen.add((module.training, out.dtype)))
    rows = recorded(trainer, 0, Metrics(), TestHits()).rows
    assert seen == {(True, torch.bfloat16), (False, torch.bfloat16)}
    misses = 1 - rows["test_hits"]["test_hits"].mean()
    assert misses == pytest.approx(rows["metrics"]["test_error"][0])


def test_a_network_that_fails_leaves_autocast_behind() -> None:
    trainer = make_trainer(RUN, HALF)
    with pytest.raises(RuntimeError, match="channels"):
        trainer.model(torch.zeros(2, 3, 8, 8))
    assert not torch.is_autocast_enabled("cpu")
    assert trainer.model(torch.zeros(2, 1, 8, 8)).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_a_copy_computes_with_weights_of_its_own() -> None:
    model = make_trainer(RUN, HALF).model.eval()
    images = torch.ones(2, 1, 8, 8)
    before, double = model(images), deepcopy(model).double()
    with torch.no_grad():
        for value in double.parameters():
            value.zero_()
    assert model(images).equal(before)
    assert not double(images.double()).any()
    assert double(images.double()).dtype == torch.float64


def test_it_goes_on_from_its_state_to_the_same_bits() -> None:
    whole, first, second = (make_trainer(RUN, HALF) for _ in range(3))
    for epoch in range(2):
        list(whole.epoch(epoch))
    list(first.epoch(0))
    second.restore(first.state())
    list(second.epoch(1))
    for name, value in whole.state().items():
        assert second.state()[name].equal(value), name


def test_statistics_over_several_processes_are_float32() -> None:
    usual, shared = nn.BatchNorm2d(3), GlobalBatchNorm(nn.BatchNorm2d(3), Ranks.alone())
    images = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 5
    found = shared(images.bfloat16())
    assert found.dtype == torch.bfloat16
    expected = usual(images.bfloat16().float())
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.02)
    torch.testing.assert_close(shared.running_mean, usual.running_mean)
    torch.testing.assert_close(shared.running_var, usual.running_var)


def test_streamed_images_are_trained_on_in_bfloat16(tmp_path: Path) -> None:
    data = streamed_runs.listed(streamed_runs.grow(tmp_path / "insects"))
    losses = []
    for precision in (HALF, "float32"):
        spec = streamed_runs.make_spec(precision=precision)
        trainer = Trainer(spec, data, prepare("cpu", precision, data.image_shape))
        losses.append(recorded(trainer, 1, Metrics()).rows["losses"])
    np.testing.assert_allclose(losses[0][0], losses[1][0], rtol=0.02)
    assert np.isfinite(losses[0]).all()
    assert losses[0][0] != losses[1][0]


def test_objects_are_detected_in_bfloat16() -> None:
    spec = annotated_images.make_spec()
    data = build_dataset(spec.dataset, Path(), download=False)
    losses = []
    for precision in (HALF, "float32"):
        changed = RunSpec.from_dict(spec.to_dict() | {"precision": precision})
        trainer = Trainer(changed, data, prepare("cpu", precision, data.image_shape))
        losses.append(recorded(trainer, 1, Metrics()).rows["losses"])
    np.testing.assert_allclose(losses[0][0], losses[1][0], rtol=0.05)
    assert np.isfinite(losses[0]).all()


def test_the_default_stays_out_of_the_canonical_spec() -> None:
    assert "precision" not in make_spec(RUN, "float32").to_dict()
    assert make_spec(RUN, HALF).to_dict()["precision"] == HALF
