"""A training step is a function of tensors: no number that changes is part of its calls.

So it could be captured once and replayed, and nothing in it waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from perigee.blocks.measures import Layers, Steps
from perigee.kernel.task import Batch
from perigee.kernel.trainer import Moment, Trainer
from support.recorded import make_recorder
from support.reference_training import Settings
from support.runs import make_trainer

WAITS_FOR_THE_DEVICE = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select")


class Calls(TorchDispatchMode):
    """Notes every ATen call with its arguments; of a tensor its type, shape and layout."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        values, structure = tree_flatten((args, kwargs or {}))
        told = tuple(
            (v.dtype, tuple(v.shape), v.stride()) if isinstance(v, Tensor) else v for v in values
        )
        self.found.append((str(func), (*told, str(structure))))
        return func(*args, **(kwargs or {}))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.found]


def calls(work: Callable[[], None]) -> Calls:
    with Calls() as found:
        work()
    return found


STEPS = {
    "sgd": Settings(learning_rate=0.3),
    "momentum": Settings(momentum=0.9),
    "adam": Settings(optimiser="adam", learning_rate=0.01),
    "undecayed": Settings(scale_invariant=False, momentum=0.9, undecayed=("normalisation",)),
    "sphere": Settings(norm=3.0),
    "sphere with momentum": Settings(norm=3.0, momentum=0.9),
    "sphere with adam": Settings(norm=3.0, optimiser="adam", learning_rate=0.01),
    "adamw": Settings(optimiser="adamw", learning_rate=0.01),
    "standard, smoothed": Settings(scale_invariant=False, label_smoothing=0.1),
}


def step(trainer: Trainer, batch: Batch, learning_rate: float) -> Callable[[], None]:
    rate = torch.tensor(learning_rate, dtype=torch.float64)

    def take() -> None:
        trainer.loss.zero_()
        trainer.parameters.gradient.zero_()
        trainer.add_gradient(batch)
        trainer.update(rate)

    return take


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", STEPS)
def test_steps_of_another_rate_and_number_make_the_same_calls(name: str, precision: str) -> None:
    trainer = make_trainer(STEPS[name], precision)
    batches = list(trainer.task.batches("train"))
    first = calls(step(trainer, batches[0], 0.1))
    for batch in batches[:3]:
        step(trainer, batch, 0.2)()
    later = calls(step(trainer, batches[1], 0.037))
    assert len(first.found) > 30
    assert later.found == first.found
    for name in WAITS_FOR_THE_DEVICE:
        assert not [called for called in first.names if name in called]


def test_the_test_would_see_a_rate_that_is_a_number() -> None:
    trainer = make_trainer(STEPS["sgd"])
    batch = next(trainer.task.batches("train"))
    one, other = (
        calls(
            lambda rate=rate: trainer.parameters.values.add_(
                trainer.parameters.gradient, alpha=rate
            )
        )
        for rate in (0.1, 0.2)
    )
    assert one.found != other.found
    assert "_local_scalar_dense" in calls(lambda: float(trainer.loss) and None).names[-1]
    assert calls(step(trainer, batch, 0.1)).found == calls(step(trainer, batch, 0.2)).found


@pytest.mark.parametrize("settings", [STEPS["momentum"], Settings(padding=2), STEPS["adam"]])
def test_neither_an_epoch_nor_the_measures_of_its_steps_wait_for_the_device(
    settings: Settings, tmp_path: Any
) -> None:
    trainer = make_trainer(settings, "float32")
    recorder = make_recorder(trainer, tmp_path, 1, Steps(), Layers())

    def epoch() -> None:
        for moment in trainer.epoch(0):
            if moment is Moment.GRADIENT:
                recorder.before_update()
            elif moment is Moment.STEP:
                recorder.after_update()

    found = calls(epoch)
    assert recorder.position.taken == 4
    for name in WAITS_FOR_THE_DEVICE:
        assert not [called for called in found.names if name in called]
