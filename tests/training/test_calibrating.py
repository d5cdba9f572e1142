"""Timing a kind of run: what counts as a step and as a pass, and what a job keeps of kinds."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from perigee.blocks.measures import Metrics, Steps
from perigee.commands import calibrate
from perigee.data.arrays import ArrayDataset
from perigee.data.saving import save_dataset
from perigee.errors import PerigeeError, StoppedBySignalError
from perigee.interruption import StopRequest
from perigee.jobs import calibrating
from perigee.jobs.calibrating import Timing, timed
from perigee.kernel import execution
from perigee.kernel.execution import Execution
from perigee.planning.calibrations import read_calibrations
from support.reference_training import Settings
from support.replayed import RecordedGraphs
from support.runs import make_spec

CPU = Execution(torch.device("cpu"), torch.float32, torch.contiguous_format)


class Clock:
    """A clock that only a test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr(calibrating.time, "perf_counter", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Task:
    """A task of five steps per epoch whose mini-batches take a second each."""

    steps_per_epoch = 5

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sizes = {"train": 95, "test": 25}

    def batches(self, split: str) -> Iterator[int]:
        for number in range(-(-self.sizes[split] // 10)):
            self.clock.seconds += 50.0 if number == 0 else 1.0  # the first one warms up
            yield number


def short_passes(clock: Clock, seconds: float) -> Any:
    return calibrating._ShortPasses(Task(clock), 10, CPU, seconds)


def test_the_rest_of_a_long_pass_is_calculated(clock: Clock) -> None:
    task = short_passes(clock, 3.5)
    # After mini-batch 1, 2, 3 and 4 more seconds have passed; the fifth is not computed.
    assert list(task.batches("train")) == [0, 1, 2, 3, 4]
    # Ten in all, of which five are left.
    assert task.take_skipped_seconds() == pytest.approx(5 * 4 / 4)
    assert task.take_skipped_seconds() == 0
    assert list(task.batches("test")) == [0, 1, 2]
    assert list(short_passes(clock, 8.5).batches("train")) == list(range(10))
    assert task.steps_per_epoch == 5


def test_the_warm_up_of_passes_sees_a_mini_batch_of_each_size_and_is_not_noted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = short_passes(clock, 60.0)
    watch = calibrating._Clock(task, CPU, 8.0, StopRequest())
    recorder: Any = SimpleNamespace()
    task.is_warming_up = True
    # These take a second each, so that not all are read to find the last one.
    assert list(task.batches("train")) == [0, 1]
    watch.after_epoch(recorder)
    assert watch.passes == []
    assert list(task.batches("train")) == list(range(10))
    watch.after_epoch(recorder)
    assert watch.passes == [pytest.approx(50 + 9)]
    task.is_warming_up = True
    monkeypatch.setattr(calibrating, "STRETCH_S", 60.0)  # now they are at hand at once
    assert list(task.batches("train")) == [0, 9]
    task.sizes["train"] = 10
    assert list(task.batches("train")) == [0]


def test_passes_are_captured_before_one_is_timed(
    few_images: ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[RecordedGraphs] = []

    def prepare(*given: Any, capture: str, channels_last: str) -> Execution:
        def make() -> RecordedGraphs:
            graphs.append(RecordedGraphs())
            return graphs[-1]

        return replace(execution.prepare(*given), graphs=make)

    monkeypatch.setattr(calibrating, "prepare", prepare)
    captures: list[int] = []
    noted = calibrating._Clock.after_epoch

    def after_epoch(watch: Any, recorder: Any) -> None:
        captures.append(graphs[0].captures)
        noted(watch, recorder)

    monkeypatch.setattr(calibrating._Clock, "after_epoch", after_epoch)
    timed(
        make_spec(Settings(batch_size=20)),
        few_images,
        [Metrics()],
        device="cpu",
        workers=0,
        seconds=0.1,
        stop=StopRequest(),
    )
    # Both splits have a last, smaller mini-batch; steps are captured afterwards, for two sizes,
    # each as a gradient and (once) an update.
    assert all(len(split) % 20 for split in few_images.splits.values())
    assert captures[0] == 4
    assert set(captures[1:]) == {4 + 2 + 1}


def test_steps_are_timed_in_stretches_without_the_first_one_and_without_passes(
    clock: Clock,
) -> None:
    watch = calibrating._Clock(short_passes(clock, 9.0), CPU, 8.0, StopRequest())
    recorder: Any = SimpleNamespace(position=SimpleNamespace(taken=0))
    watch.begin()
    # A stretch has at least a tenth of a second, and ends with its epoch of five steps.
    for number, step in enumerate([0.3, 0.06, 0.06, 0.2, 0.03, 0.4]):
        recorder.position.taken = number % 5 + 1
        clock.seconds += step
        watch.after_step(recorder)
        if number == 4:
            clock.seconds += 7.0
            watch.after_epoch(recorder)
    clock.seconds += 0.5
    with pytest.raises(calibrating._EnoughError):
        watch.after_step(recorder)
    found = [(count, pytest.approx(seconds)) for count, seconds in watch.stretches]
    assert found == [(2, 0.12), (1, 0.2), (1, 0.03), (1, 0.4), (1, 0.5)]
    assert watch.passes == [pytest.approx(7.0)]


def few_seconds(dataset: ArrayDataset, stop: StopRequest, **settings: Any) -> Timing:
    return timed(
        make_spec(Settings(**settings)),
        dataset,
        [Metrics(), Steps()],
        device="cpu",
        workers=0,
        seconds=0.1,
        stop=stop,
    )


@pytest.mark.parametrize("full_batch", [False, True])
def test_a_real_run_is_timed(full_batch: bool, few_images: ArrayDataset) -> None:
    found = few_seconds(few_images, StopRequest(), full_batch=full_batch)
    images = len(few_images.splits["train"])
    per_epoch = 1 if full_batch else -(-images // Settings().batch_size)
    assert found.steps_per_epoch == per_epoch
    assert found.steps >= 3
    assert found.seconds_per_step > 0
    assert found.seconds_per_pass > 0


def test_a_run_that_diverges_at_once_is_told(few_images: ArrayDataset) -> None:
    with pytest.raises(PerigeeError, match="diverged before its steps could be timed"):
        few_seconds(few_images, StopRequest(), learning_rate=1e30)


def test_it_stops_when_told_to(few_images: ArrayDataset) -> None:
    stop = StopRequest()
    stop.note(signal.SIGINT)
    with pytest.raises(StoppedBySignalError, match="SIGINT"):
        few_seconds(few_images, stop)


# The job


@pytest.fixture
def told(few_images: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that tells a job of two kinds."""
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    save_dataset(few_images, dataset)
    monkeypatch.setattr(calibrate, "read_product", lambda folder: None)
    told = [
        {
            "name": f"run{size}",
            "run": make_spec(Settings(batch_size=size)).to_dict(),
            "measures": [{"name": "metrics"}],
            "dataset": str(dataset),
            "runs": size,
        }
        for size in (16, 32)
    ]
    file = tmp_path / "told.json"
    file.write_text(json.dumps({"kinds": told}))
    return file


def measured(told: Path) -> list[int]:
    """The size of the mini-batches in each calibration that was kept."""
    found = read_calibrations(told.with_name("records") / "calibrations.json")
    return [one.run["batch_size"] for one in found]


def job(told: Path) -> None:
    out = told.with_name("records") / "calibrations.json"
    calibrate.main(str(told), out, device="cpu", seconds=0.1)


def test_a_line_per_kind_and_an_entry_that_the_next_job_replaces(
    told: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="perigee"):
        job(told)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("kind 1/2, 16 runs such as run16 with metrics: ")
    assert lines[1].startswith("kind 2/2, 32 runs such as run32 with metrics: ")
    assert all(" ms per step, " in line for line in lines)
    job(told)
    assert measured(told) == [16, 32]


def test_a_kind_that_fails_is_told_and_the_others_go_on(
    told: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def short_of_memory(spec: Any, *rest: Any, **options: Any) -> Timing:
        if spec.batch_size == 16:
            raise MemoryError("16 images")
        return timed(spec, *rest, **options)

    monkeypatch.setattr(calibrate, "timed", short_of_memory)
    with pytest.raises(PerigeeError, match=r"1 of 2 kinds could not be measured \(run16\)"):
        job(told)
    assert measured(told) == [32]
    assert "such as run16 with metrics: failed: not enough memory (16 images)" in caplog.text


def test_what_was_measured_before_a_stop_is_kept(
    told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(spec: Any, *rest: Any, stop: StopRequest, **options: Any) -> Timing:
        if spec.batch_size == 32:
            stop.note(signal.SIGTERM)
        return timed(spec, *rest, stop=stop, **options)

    monkeypatch.setattr(calibrate, "timed", stopped)
    with pytest.raises(StoppedBySignalError) as raised:
        job(told)
    assert raised.value.exit_status == 128 + signal.SIGTERM
    assert measured(told) == [16]
