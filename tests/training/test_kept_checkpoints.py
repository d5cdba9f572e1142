"""perigee.checkpoints: the numbers of a row belong to the right weights and epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perigee.blocks.measures import Checkpoints
from perigee.checkpoints import KeptCheckpoints
from perigee.errors import PerigeeError
from perigee.kernel.trainer import Start
from perigee.spec import RunSpec
from perigee.training.loop import Watch
from perigee.training.recording import Recorder
from support.recorded import recorded
from support.reference_training import Settings
from support.runs import make_spec, make_trainer
from support.stores import Store

EPOCHS = 4


def spec_of(settings: Settings) -> RunSpec:
    return make_spec(settings, "float32")


RUNS = {
    "momentum": Settings(width=1, batch_size=40, momentum=0.9),
    "standard": Settings(
        width=1, batch_size=40, scale_invariant=False, optimiser="adam", learning_rate=0.01
    ),
    "sphere": Settings(width=1, batch_size=40, norm=3.0),
}


def kept(folder: Path, settings: Settings, interval: int = 1) -> KeptCheckpoints:
    store, spec = Store(folder), spec_of(settings)
    measure = Checkpoints(interval=interval)
    version = store.train(spec, EPOCHS, measure)
    return KeptCheckpoints.of_measure(store.measure_folder(spec, version, measure))


class Keeps(Watch):
    """The whole state after every epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, np.ndarray]] = []

    def after_epoch(self, recorder: Recorder) -> None:
        state = recorder.trainer.state()
        self.states.append({name: value.numpy() for name, value in state.items()})


@pytest.mark.parametrize("name", RUNS)
def test_a_checkpoint_is_the_state_by_name(name: str, tmp_path: Path) -> None:
    settings, watch = RUNS[name], Keeps()
    trainer = make_trainer(spec_of(settings), memory_format=torch.channels_last)
    recorded(trainer, EPOCHS, watch=watch)
    checkpoints = kept(tmp_path, settings)
    assert checkpoints.epochs == tuple(range(EPOCHS + 1))
    frozen = {f"model.{n}" for n, p in trainer.model.named_parameters() if not p.requires_grad}
    for epoch, state in enumerate(watch.states):
        found = checkpoints.checkpoint(epoch)
        assert found.keys() == {n for n in state if "num_batches" not in n and n not in frozen}
        for tensor, value in found.items():
            assert value.shape == state[tensor].shape
            assert np.array_equal(value, state[tensor]), tensor
    vector = checkpoints.vector(2)
    expected = [watch.states[2][f"model.{n}"].ravel() for n in trainer.parameters.weight_names]
    assert checkpoints.weights == sum(map(len, expected))
    assert np.array_equal(vector[: checkpoints.weights], np.concatenate(expected))
    assert np.array_equal(checkpoints.vectors([4, 0]), [checkpoints.vector(e) for e in (4, 0)])


def test_a_run_goes_on_from_any_of_them(tmp_path: Path) -> None:
    spec = spec_of(RUNS["momentum"])
    checkpoints = kept(tmp_path, RUNS["momentum"])
    whole = recorded(make_trainer(spec, memory_format=torch.channels_last), EPOCHS)
    for epoch in range(EPOCHS):
        start = Start(checkpoints.checkpoint(epoch), epoch, spec, epoch)
        trainer = make_trainer(spec, memory_format=torch.channels_last, start=start)
        rest = recorded(trainer, EPOCHS - epoch).rows["losses"]
        assert rest.tolist() == whole.rows["losses"][2 * epoch :].tolist()


def test_some_of_them_can_be_looked_at(tmp_path: Path) -> None:
    """A table may use fewer epochs, or a longer interval, than the run kept."""
    all_of_them = kept(tmp_path, RUNS["momentum"])
    folder = all_of_them.path.parent
    for epochs, interval, expected in (
        (None, 1, (0, 1, 2, 3, 4)),
        (3, 1, (0, 1, 2, 3)),
        (3, 2, (0, 2, 3)),
        (4, 3, (0, 3, 4)),
        (0, 1, (0,)),
    ):
        some = KeptCheckpoints.of_measure(folder, epochs, interval)
        assert some.epochs == expected
        for epoch in expected:
            assert np.array_equal(some.vector(epoch), all_of_them.vector(epoch))


def test_a_checkpoint_that_was_not_kept_is_told(tmp_path: Path) -> None:
    checkpoints = kept(tmp_path, RUNS["momentum"], interval=3)
    assert checkpoints.epochs == (0, 3, 4)
    for ask in (
        checkpoints.checkpoint,
        checkpoints.vector,
        lambda epoch: checkpoints.vectors([0, epoch]),
    ):
        with pytest.raises(PerigeeError, match=r"no checkpoint of epoch 2, only of 0, 3, 4"):
            ask(2)


def test_the_rows_stay_on_the_disk_until_they_are_asked_for(tmp_path: Path) -> None:
    checkpoints = kept(tmp_path, RUNS["momentum"])
    found = checkpoints.vector(1)
    before = found.copy()
    checkpoints.path.unlink()
    assert np.array_equal(found, before), "a copy"
    with pytest.raises(FileNotFoundError):
        checkpoints.vector(1)
