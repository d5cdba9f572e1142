"""perigee.kernel.running_statistics: BatchNorm in train mode that keeps its statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perigee.blocks.measures import FullGradientNorm, Metrics
from perigee.kernel.running_statistics import running_statistics_left_alone
from support.recorded import make_recorder
from support.reference_training import Settings
from support.runs import make_trainer

IMAGES = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3, affine=False))
    model(2 * IMAGES + 1)
    return model


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_batch_normalises_and_the_statistics_stay() -> None:
    model, free = network(), network()
    before = snapshot(model)
    with running_statistics_left_alone(model):
        outputs = model(IMAGES)
    assert torch.equal(outputs, free(IMAGES))
    assert_unchanged(model, before)
    # And they are tracked again afterwards.
    model(IMAGES)
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            assert not torch.equal(value, before[name])
        if name.endswith("num_batches_tracked"):
            assert value == before[name] + 1


def test_they_are_tracked_again_after_an_error() -> None:
    model = network()
    before = snapshot(model)

    def interrupted() -> None:
        with running_statistics_left_alone(model):
            model(IMAGES)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_unchanged(model, before)
    model(IMAGES)
    assert not torch.equal(model[0].running_mean, before["0.running_mean"])


def test_batch_norm_that_never_tracked_does_not_start_to() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    with running_statistics_left_alone(model):
        model(torch.randn(4, 2))
    assert [module.track_running_stats for module in model] == [True, False]


def test_a_measure_that_is_stopped_leaves_them_alone(tmp_path) -> None:
    trainer = make_trainer(Settings())
    recorder = make_recorder(trainer, tmp_path, 1, Metrics(), FullGradientNorm())
    before = snapshot(trainer.model)

    def stop() -> None:
        raise KeyboardInterrupt

    for measure in recorder.measures.values():
        measure.pause = stop
        with pytest.raises(KeyboardInterrupt):
            measure.after_epoch(0, last=False)
        assert_unchanged(trainer.model, before)
    assert all(
        m.track_running_stats for m in trainer.model.modules() if isinstance(m, nn.BatchNorm2d)
    )
