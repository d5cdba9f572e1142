"""Steps and passes that are captured once and replayed give the bits of those that are not.

No GPU is needed: `RecordedGraphs` replays ATen calls on the memory of the capture, as a CUDA graph
replays kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from perigee.data.arrays import ArrayDataset
from perigee.kernel.execution import DTYPES, Execution
from perigee.kernel.graphs import Captured
from perigee.kernel.ranks import Ranks
from perigee.kernel.trainer import Trainer
from perigee.spec import RunSpec
from support.recorded import EVERY_MEASURE, Recorded, recorded
from support.reference_training import Settings
from support.replayed import RecordedGraphs
from support.runs import few_images, make_spec

EPOCHS = 3

ELR = {"effective_learning_rate": 0.01}

RUNS: dict[str, Settings | RunSpec] = {
    "sgd": Settings(learning_rate=0.3, cosine_horizon=3),
    "momentum": Settings(momentum=0.9, milestones=(1, 2)),
    "adam": Settings(optimiser="adam", learning_rate=0.01),
    "undecayed": Settings(scale_invariant=False, momentum=0.9, undecayed=("normalisation",)),
    "sphere": Settings(norm=3.0, cosine_horizon=4),
    "smoothed, augmented": Settings(label_smoothing=0.1, padding=2, momentum=0.5),
    "full batch": Settings(full_batch=True, momentum=0.9),
    "resnet18": Settings(model="resnet18", learning_rate=0.3, batch_size=35),
    "adamw": Settings(optimiser="adamw", learning_rate=0.01),
    "effective rate": make_spec(
        Settings(norm=3.0), "float32", optimiser={"name": "projected_sgd", **ELR}
    ),
    "effective rate, no norm": make_spec(
        Settings(model="resnet18", cosine_horizon=3),
        "float32",
        optimiser={"name": "projected_sgd", **ELR},
        constraint={"name": "fixed_norm"},
    ),
    "equal filters": make_spec(
        Settings(cosine_horizon=3),
        "float32",
        optimiser={"name": "projected_sgd", **ELR},
        constraint={"name": "equal_filter_norms"},
    ),
}


def make_trainer(
    run: Settings | RunSpec,
    precision: str = "float32",
    graphs: RecordedGraphs | None = None,
    ranks: Ranks | None = None,
    dataset: ArrayDataset | None = None,
) -> Trainer:
    layout = torch.channels_last
    make = None if graphs is None else lambda: graphs
    execution = Execution(torch.device("cpu"), DTYPES[precision], layout, graphs=make)
    spec = make_spec(run, precision) if isinstance(run, Settings) else run
    return Trainer(spec, dataset or few_images(), execution, ranks=ranks)


def assert_same_bits(found: Recorded, expected: Recorded) -> None:
    assert set(found.rows) == set(expected.rows)
    for name, rows in expected.rows.items():
        assert found.rows[name].tobytes() == rows.tobytes(), name


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "float32") for name in RUNS), ("momentum", "float64"), ("momentum", "bfloat16")],
)
def test_replayed_epochs_have_the_bits_of_eager_ones(name: str, precision: str) -> None:
    expected = recorded(make_trainer(RUNS[name], precision), EPOCHS, *EVERY_MEASURE)
    graphs = RecordedGraphs()
    trainer = make_trainer(RUNS[name], precision, graphs)
    found = recorded(trainer, EPOCHS, *EVERY_MEASURE)
    assert_same_bits(found, expected)
    assert trainer.is_captured
    sizes = len({len(batch.targets) for batch in trainer.task.batches("train")})
    tested = len({len(batch.targets) for batch in trainer.task.batches("test")})
    # A step's gradient, both measures that pass over the training set, the test set, the update.
    assert graphs.captures == 3 * sizes + tested + 1
    steps = len(expected.rows["losses"])
    assert graphs.replays > 2 * steps


def test_numbers_of_images_that_come_later_are_captured_then() -> None:
    few = few_images()
    splits = {
        name: replace(split, images=split.images[:n], labels=split.labels[:n])
        for name, split, n in (("train", few.splits["train"], 45), ("test", few.splits["test"], 20))
    }
    run = Settings(batch_size=20, momentum=0.9)
    fewer = replace(few, splits=splits)
    graphs = RecordedGraphs()
    found = recorded(make_trainer(run, graphs=graphs, dataset=fewer), EPOCHS)
    assert_same_bits(found, recorded(make_trainer(run, dataset=fewer), EPOCHS))
    assert graphs.captures == 2 + 1, "mini-batches of 20 and of 5, and the update"


def test_a_captured_run_goes_on_from_its_state_to_the_same_bits() -> None:
    run = Settings(momentum=0.9, padding=2)
    whole, first, second = (make_trainer(run, graphs=RecordedGraphs()) for _ in range(3))
    for epoch in range(2):
        assert list(whole.epoch(epoch))
    list(first.epoch(0))
    moments = first.epoch(1)
    for _ in range(4):  # two steps, each with two moments
        next(moments)
    second.restore(first.state())
    list(second.epoch(1, taken=2))
    for name, value in whole.state().items():
        assert second.state()[name].equal(value), name


class Failing(RecordedGraphs):
    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        function()  # what it changed has to be put back
        raise RuntimeError("operation not permitted when stream is capturing\nmore")


def test_where_a_capture_fails_training_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    run = RUNS["momentum"]
    trainer = make_trainer(run, graphs=Failing())
    found = recorded(trainer, EPOCHS)
    assert_same_bits(found, recorded(make_trainer(run), EPOCHS))
    assert not trainer.is_captured
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].endswith("one by one: operation not permitted when stream is capturing")


class FailingLater(RecordedGraphs):
    """Captures a whole mini-batch and the update, and fails at the last, smaller mini-batch."""

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        if self.captures == 2:
            raise RuntimeError("out of memory")
        return super().capture(function)


def test_where_a_later_capture_fails_steps_do_not_count_as_captured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = RUNS["momentum"]
    trainer = make_trainer(run, graphs=FailingLater())
    assert trainer.may_capture
    found = recorded(trainer, EPOCHS)
    assert_same_bits(found, recorded(make_trainer(run), EPOCHS))
    assert not trainer.is_captured
    assert not trainer.may_capture
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.endswith("one by one: out of memory")


def test_nothing_is_captured_of_a_run_that_processes_share() -> None:
    graphs = RecordedGraphs()
    trainer = make_trainer(Settings(), graphs=graphs, ranks=Ranks(rank=0, world=2))
    assert not trainer.parameters.gradient.any()
    called: list[float] = []
    function = trainer.captured(called.append)
    function(1.0)
    function(1.0)
    assert called == [1.0, 1.0]
    assert not graphs.captures


class TestCaptured:
    def test_changes_before_the_capture_are_put_back(self) -> None:
        total = torch.zeros(2)
        add = Captured(lambda x: total.add_(x), RecordedGraphs(), lambda: [total])
        add(torch.tensor([1.0, 2.0]))
        add(torch.tensor([3.0, 4.0]))
        assert total.tolist() == [4, 6]

    def test_shapes_layouts_types_and_numbers_have_captures_of_their_own(self) -> None:
        graphs, total = RecordedGraphs(), torch.zeros(())
        add = Captured(lambda x, factor: total.add_(factor * x.sum()), graphs, lambda: [total])
        matrix = torch.ones(2, 3)
        for values in (matrix, torch.ones(3, 2), torch.ones(3, 2).T, matrix.double()):
            add(values, 1.0)
        add(matrix, 2.0)
        assert (add.shapes, graphs.captures) == (5, 5)
        assert total == 4 * 6 + 12
        add(matrix, 2.0)
        assert (add.shapes, total) == (5, 48)

    def test_arguments_that_are_not_tensors_or_numbers_are_not_captured(self) -> None:
        graphs, seen = RecordedGraphs(), []
        note = Captured(seen.append, graphs, list)
        note({"a": 1})
        note({"a": 2})
        assert seen == [{"a": 1}, {"a": 2}]
        assert not graphs.captures

    def test_a_function_that_replaces_a_tensor_is_not_captured(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        state = {"total": torch.zeros(())}

        def replace_total(x: torch.Tensor) -> None:
            state["total"] = state["total"] + x

        graphs = RecordedGraphs()
        add = Captured(replace_total, graphs, lambda: list(state.values()))
        for number in (1.0, 2.0):
            add(torch.tensor(number))
        assert state["total"] == 3
        assert not graphs.captures
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.startswith("replace_total cannot be captured")
        assert told.endswith("it replaces tensors instead of changing them")

    def test_the_stand_in_would_show_a_number_of_python_that_changes(self) -> None:
        total, rates = torch.zeros(()), [1.0]
        add = Captured(lambda: total.add_(rates[0]), RecordedGraphs(), lambda: [total])
        add()
        rates[0] = 10.0
        add()
        assert total == 2, "the rate of the capture"

    def test_the_stand_in_would_show_a_tensor_that_is_replaced(self) -> None:
        found, held = torch.zeros(()), [torch.tensor(1.0)]
        copy = Captured(lambda: found.copy_(held[0]), RecordedGraphs(), lambda: [found])
        copy()
        held[0] = torch.tensor(5.0)
        copy()
        assert found == 1

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_network_is_replayed_with_its_gradient(self, dtype: type[np.floating]) -> None:
        kind = torch.from_numpy(np.zeros(1, dtype)).dtype
        layer = torch.nn.Conv2d(1, 2, 3).to(kind)
        layer.weight.grad = torch.zeros_like(layer.weight)
        layer.bias.grad = torch.zeros_like(layer.bias)  # type: ignore[union-attr]
        images = torch.rand(3, 2, 1, 4, 4, dtype=kind)

        def backward(batch: torch.Tensor) -> None:
            layer(batch).square().sum().backward()

        add = Captured(backward, RecordedGraphs(), lambda: [p.grad for p in layer.parameters()])
        for batch in images:
            add(batch)
        found = layer.weight.grad.clone()
        layer.weight.grad.zero_()
        for batch in images:
            backward(batch)
        assert found.equal(layer.weight.grad)
