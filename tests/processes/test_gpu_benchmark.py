"""benchmarks/gpu.py, tiny and on the CPU: what it measures, and what it leaves out."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from perigee.data import fashion_mnist
from perigee.kernel import execution
from perigee.kernel.execution import Execution
from perigee.spec import RunSpec
from support.benchmarks import load, machine_with, without_path
from support.fashion_mnist import checksums, small_files, write_files
from support.replayed import RecordedGraphs
from support.workspace import ROOT

PROGRAM = ROOT / "benchmarks/gpu.py"
UNITS = ("ms per step", "s per epoch", "steps per second", "same bits")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a machine that has few packages."""
    return machine_with(tmp_path_factory.mktemp("few") / "machine", "torch", "numpy", "pydantic")


def start(out: Path, python: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(python), str(PROGRAM), "--tiny", "--out", str(out), *options],
        env=without_path(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=out.parent,
    )


def test_all_items_stand_in_the_file_with_figures_or_the_reason(
    tmp_path: Path, python: Path
) -> None:
    out = tmp_path / "gpu.json"
    job = start(out, python)
    told, _ = job.communicate(timeout=500)
    assert job.returncode == 0, told
    found = json.loads(out.read_text())
    assert found["tiny"]
    assert found["device"] == "cpu"
    assert "card" not in found
    assert "driver" not in found
    assert found["conditions"]["images"] == "random images"
    items = found["items"]
    networks = ("convnet-32", "resnet18-16", "resnet18-64")
    everything = {
        *(
            f"bits: {one} {precision} captured"
            for one in networks
            for precision in ("float32", "tf32", "bfloat16")
        ),
        *(f"bits: {one} float32 captured_channels_last" for one in networks),
        *(f"kernels: {one} tf32 captured" for one in networks),
        "kernels: convnet-32 float32 captured",
        *(
            f"step: {one} {precision} {way}"
            for one in networks
            for precision in ("float32", "tf32", "bfloat16")
            for way in ("eager", "channels_last", "captured")
        ),
        *(f"step: {one} float32 captured_channels_last" for one in networks),
        *(f"ordinary: {one} {precision}" for one in networks for precision in ("float32", "tf32")),
        *("sharing: time slices", "sharing: MPS", "resume: killed twice"),
        *(
            f"layers: resnet50 {precision} {way}"
            for precision in ("float32", "tf32")
            for way in ("captured", "eager")
        ),
    }
    assert set(items) == everything
    without_gpu = {
        *(
            f"step: {one} {precision} eager"
            for one in networks
            for precision in ("float32", "bfloat16")
        ),
        *(f"ordinary: {one} float32" for one in networks),
        *("sharing: time slices", "resume: killed twice"),
    }
    assert {name for name, one in items.items() if one["status"] == "measured"} == without_gpu
    for name, one in items.items():
        if name in without_gpu:
            assert any(key.startswith(UNITS) for key in one["figures"]), name
        else:
            assert "figures" not in one, name
    # Torchvision's network is missed on a GPU alone; elsewhere that there is none comes first.
    missing = items.pop("layers: resnet50 float32 eager")
    assert "torchvision" in missing["reason"]
    others = {one["reason"] for one in items.values() if one["status"] != "measured"}
    assert others == {"no GPU"}
    step = items["step: resnet18-16 bfloat16 eager"]["figures"]
    run = RunSpec.from_dict(step["run"])
    assert (run.model.name, run.precision, run.batch_size) == ("resnet18", "bfloat16", 8)
    assert step["steps per epoch"] == 6  # of 44 images
    assert items["resume: killed twice"]["figures"]["same bits"] == {"weights": True}
    rates = items["sharing: time slices"]["figures"]["steps per second, convnet-32, float32"]
    assert [len(rates[number]) for number in ("1", "2")] == [1, 2]


def test_a_program_that_is_killed_leaves_what_it_has(tmp_path: Path, python: Path) -> None:
    out = tmp_path / "gpu.json"
    job = start(out, python, "--items", "step")
    measured: list[str] = []
    deadline = time.monotonic() + 300
    try:
        while not measured:
            assert time.monotonic() < deadline
            assert job.poll() is None
            time.sleep(0.02)
            items = json.loads(out.read_text())["items"] if out.exists() else {}
            measured = [name for name, one in items.items() if one["status"] == "measured"]
    finally:
        job.send_signal(signal.SIGKILL)
        job.communicate()
    left = json.loads(out.read_text())["items"]
    assert left["step: convnet-32 float32 eager"]["figures"]["ms per step"]["min"] > 0
    assert "step: resnet18-64 bfloat16 eager" not in left


def test_an_item_that_fails_or_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)

    def fails() -> None:
        raise RuntimeError("out of memory\nand much more")

    def hangs() -> None:
        time.sleep(60)

    failed = gpu.measured(gpu.Item("a: b", 5, False, fails), "cpu", 100)
    assert failed["status"] == "not measured"
    assert failed["reason"] == "RuntimeError: out of memory"
    hung = gpu.measured(gpu.Item("a: b", 0.1, False, hangs), "cpu", 100)
    assert "cut off" in hung["reason"]
    late = gpu.measured(gpu.Item("a: b", 5, False, fails), "cpu", 4.9)
    assert "were left" in late["reason"]
    assert "figures" not in failed | hung | late


def test_after_a_failed_capture_items_that_capture_have_processes_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = load("gpu", monkeypatch)
    monkeypatch.setattr(gpu.CudaGraphs, "has_failed", False)
    here: list[str] = []

    def item(name: str, fails: bool = False, **others: bool) -> Any:
        def measure() -> dict[str, int]:
            here.append(name)
            gpu.CudaGraphs.has_failed |= fails
            return {"ms": 1}

        return gpu.Item(name, 5, False, measure, **others)

    def alone(item: Any, left: float) -> dict[str, int]:
        assert 90 < left < 100
        if item.name == "layers: a":
            raise gpu.NotMeasuredError("its steps could not be captured")
        return {"ms": 2}

    wanted = [
        item("step: a", captures=True),
        item("step: b", fails=True, captures=True),
        item("step: c", captures=True),
        item("layers: a", captures=True),
        item("step: eager"),
        item("resume: a", has_processes=True),
    ]
    found = list(gpu.in_turn(wanted, "cpu", time.monotonic() + 100, alone))
    assert here == ["step: a", "step: b", "step: eager", "resume: a"]
    assert [one.name for one, _ in found] == [one.name for one in wanted]
    entries = {one.name: entry for one, entry in found}
    assert entries["step: c"]["figures"] == {"ms": 2}
    assert entries["step: c"]["process"] == "its own"
    assert entries["layers: a"]["reason"] == "its steps could not be captured"
    assert "process" not in entries["step: b"]


def test_an_error_that_stays_costs_no_other_item(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)

    def broken(device: str) -> None:
        raise RuntimeError("an illegal memory access\nand much more")

    monkeypatch.setattr(gpu, "free_memory", broken)
    wanted = [
        gpu.Item("a: in this process", 5, False, lambda: {"ms": 1}),
        gpu.Item("b: in this process", 5, False, lambda: {"ms": 1}),
        gpu.Item("c: with processes", 5, False, lambda: {"ms": 1}, has_processes=True),
    ]
    left = time.monotonic() + 100
    first, second, third = (
        entry for _, entry in gpu.in_turn(wanted, "cpu", left, lambda *_: {"ms": 2})
    )
    assert (first["figures"], second["figures"], third["figures"]) == (
        {"ms": 1},
        {"ms": 2},
        {"ms": 1},
    )
    assert first["error afterwards"] == "an illegal memory access"
    assert "error afterwards" not in second | third


def test_a_process_of_its_own_measures_an_item_or_says_why_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = load("gpu", monkeypatch)
    by_name = {one.name: one for one in gpu.items(gpu.random_images(44, 12), "cpu", gpu.TINY, 2)}
    eager, captured = (by_name[f"step: convnet-32 float32 {way}"] for way in ("eager", "captured"))
    figures = gpu.by_another_process(["--tiny"], eager, 200)
    assert figures["ms per step"]["min"] > 0
    with pytest.raises(gpu.NotMeasuredError, match=r"^no GPU$"):
        gpu.by_another_process(["--tiny"], captured, 200)
    with pytest.raises(gpu.NotMeasuredError, match="ended with 1: Fashion-MNIST is not complete"):
        gpu.by_another_process(["--tiny", "--fashion-mnist", "nowhere"], eager, 200)


def test_items_with_processes_have_less_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)
    everything = gpu.items(gpu.random_images(8, 8), "cpu", gpu.TINY, 2)
    for one in everything:
        times = 1.5 if one.group in ("kernels", "sharing", "resume") else 3
        assert one.most_seconds == times * one.seconds, one.name
        in_this_process = "captured" in one.name and one.group != "kernels"
        assert one.captures == in_this_process, one.name


def test_cublas_is_told_before_an_item_and_libraries_are_loaded(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    del os.environ["CUBLAS_WORKSPACE_CONFIG"]
    execution.prepare("cpu", "float32", (1, 32, 32))
    told = (
        "import os, runpy; os.environ.pop('CUBLAS_WORKSPACE_CONFIG', None);"
        f"gpu = runpy.run_path({str(PROGRAM)!r});"
        "print(os.environ['CUBLAS_WORKSPACE_CONFIG']); gpu['warm_up']('cpu')"
    )
    done = subprocess.run(
        [str(python), "-c", told], env=without_path(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [os.environ["CUBLAS_WORKSPACE_CONFIG"]]


def test_a_crew_that_is_broken_off_is_killed_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load("gpu", monkeypatch)
    from card.children import children  # type: ignore[import-not-found]

    (tmp_path / "sleeping.py").write_text(
        "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(KeyError), children(3, "sleeping") as crew:  # noqa: PT012
        assert [one.hear(60) for one in crew] == ["ready"] * 3
        ended = time.monotonic()
        raise KeyError
    assert time.monotonic() - ended < 8  # less than one of them had to end by itself before
    assert [one.process.returncode for one in crew] == [-signal.SIGKILL] * 3


def test_a_run_waits_after_each_save_to_be_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So one that is to be killed cannot have ended before."""
    gpu = load("gpu", monkeypatch)
    from card.children import children

    told = {"device": "cpu", "size": asdict(gpu.TINY), "state": str(tmp_path / "state.pt")}
    with children(1, "card.resuming", json.dumps(told)) as (run,):
        assert [run.hear(60), run.hear(60)] == ["0", "5"]
        with pytest.raises(RuntimeError, match="said nothing"):
            run.hear(2)
        run.tell("go on")
        assert run.hear(60) == "10"
    assert run.process.returncode == 0  # it ends when nobody tells it


def test_bits_are_those_of_all_logs_and_are_not_compared_without_a_capture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = load("gpu", monkeypatch)
    ours, again = (
        gpu.bits.logs("convnet-32", "float32", "cpu", way, gpu.TINY)
        for way in (gpu.EAGER, gpu.CHANNELS_LAST)
    )
    assert ours == again  # a CPU knows one way
    assert set(ours) == {"losses", "weights", "metrics", "steps"}
    assert all(ours.values())
    with pytest.raises(RuntimeError, match="could not be captured"):
        gpu.bits.compared("convnet-32", "float32", gpu.CAPTURED, gpu.EAGER, "cpu", gpu.TINY)


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, on a CPU that captures by a stand-in for CUDA graphs."""
    gpu = load("gpu", monkeypatch)
    runs = sys.modules["card.runs"]

    def prepare(*given: Any, capture: str, **others: Any) -> Execution:
        graphs = RecordedGraphs if capture == "auto" else None
        return replace(execution.prepare(*given, **others), graphs=graphs)

    monkeypatch.setattr(runs, "prepare", prepare)
    return gpu


def test_captured_steps_are_timed_and_compared(captures: Any) -> None:
    size, images = captures.TINY, captures.random_images(captures.TINY.train, captures.TINY.test)
    ways = "tf32", captures.CAPTURED, captures.CHANNELS_LAST
    found = captures.bits.compared("convnet-32", *ways, "cpu", size)
    assert set(found["same bits"]) == {"losses", "weights", "metrics", "steps"}
    assert all(found["same bits"].values())
    way = captures.CAPTURED
    timed = captures.step_and_epoch("resnet18-16", "bfloat16", way, images, "cpu", size)
    assert timed["ms per step"]["min"] > 0
    assert timed["s per epoch with metrics"] > 0


def test_what_is_captured_is_computed_as_a_run_is_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = load("gpu", monkeypatch)
    runs = sys.modules["card.runs"]
    default = inspect.signature(execution.prepare).parameters
    assert runs.WAYS[gpu.CAPTURED] == {
        name: default[name].default for name in ("capture", "channels_last")
    }
    everything = gpu.items(gpu.random_images(8, 8), "cpu", gpu.TINY, 2)
    compared = {one.measure.args[:4] for one in everything if one.group == "bits"}
    assert compared == {(one, *ways) for one in gpu.NETWORKS for ways in gpu.bits.COMPARED}
    # The layout of the other way is that of the captured run on a GPU.
    for precision, way, other in gpu.bits.COMPARED:
        layout = runs.WAYS[way]["channels_last"]
        if layout == "auto":
            layout = "always" if precision in execution.TENSOR_CORES else "never"
        assert runs.WAYS[other] == {"capture": "never", "channels_last": layout}


def test_the_kernels_of_a_step_are_listed_those_of_most_time_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = load("gpu", monkeypatch)
    found = gpu.kernels.of_a_step("convnet-32", "float32", "cpu", gpu.TINY)
    times = [one["us per step"] for one in found["kernels"]]
    assert times == sorted(times, reverse=True)
    assert times[-1] > 0
    of_a_convolution = [one for one in found["kernels"] if "convolution_backward" in one["name"]]
    assert sum(one["per step"] for one in of_a_convolution) >= 4  # the network has four
    whole = sum(times) + found["us per step of others"]
    assert found["busy ms per step"] == pytest.approx(whole / 1000, rel=1e-3)
    monkeypatch.setattr(gpu.kernels, "profile", lambda **_: nullcontext(Empty()))
    with pytest.raises(RuntimeError, match="the profiler saw no kernels"):
        gpu.kernels.profiled("convnet-32", "float32", "cpu", gpu.TINY)


class Empty:
    """A profile in which nothing was seen."""

    def key_averages(self) -> list[Any]:
        return []


def test_channels_last_alone_is_timed_in_steps_without_an_epoch(captures: Any) -> None:
    everything = captures.items(captures.random_images(44, 12), "cpu", captures.TINY, 2)
    by_name = {one.name: one for one in everything}
    for way in ("channels_last", "captured_channels_last"):
        figures = by_name[f"step: convnet-32 float32 {way}"].measure()
        assert figures["ms per step"]["min"] > 0
        assert "s per epoch with metrics" not in figures
    assert "s per epoch with metrics" in by_name["step: convnet-32 float32 captured"].measure()


def test_kinds_of_runs_are_timed_with_their_measures(tmp_path: Path, python: Path) -> None:
    kind = {
        "name": "01 a run",
        "run": {
            "dataset": {"name": "cifar100"},
            "model": {"name": "convnet", "scale_invariant": True, "width": 2},
            "optimiser": {"name": "sgd", "learning_rate": 0.01},
            "batch_size": 8,
            "seed": 10,
        },
        "measures": [{"name": one} for one in ("checkpoints", "metrics", "steps", "test_hits")],
        "runs": 3,
        **{"shape": [3, 32, 32], "classes": 100, "train": 50000, "test": 10000},
    }
    (tmp_path / "kinds.json").write_text(json.dumps({"kinds": [kind]}))
    out = tmp_path / "gpu.json"
    job = start(out, python, "--items", "runs", "--kinds", "kinds.json")
    told, _ = job.communicate(timeout=200)
    assert job.returncode == 0, told
    (item,) = json.loads(out.read_text())["items"].values()
    figures = item["figures"]
    assert figures["ms per step"] > 0
    assert figures["s per pass"] > 0
    assert figures["steps per epoch"] == 6  # of 44 images
    assert figures["timed steps"] >= 3
    assert {key: figures[key] for key in ("run", "measures", "runs")} == {
        key: kind[key] for key in ("run", "measures", "runs")
    }


def test_unknown_items_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)
    known = [gpu.Item("step: a", 1, False, dict), gpu.Item("bits: a", 1, False, dict)]
    assert [one.name for one in gpu.chosen(known, "bits")] == ["bits: a"]
    assert [one.name for one in gpu.chosen(known, "step: a, bits")] == ["step: a", "bits: a"]
    with pytest.raises(SystemExit, match="no item stepp; groups are step, bits"):
        gpu.chosen(known, "stepp")


@pytest.mark.parametrize("compressed", [True, False])
def test_fashion_mnist_is_the_library_s(
    compressed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = load("gpu", monkeypatch)
    arrays = small_files(20, 10)
    monkeypatch.setattr(fashion_mnist, "SHA256", checksums(arrays))
    folder = tmp_path / fashion_mnist.FOLDER
    write_files(folder, arrays, compressed)
    ours, library = gpu.fashion_mnist_in(folder), fashion_mnist.build(tmp_path, download=False)
    assert ours.sha256 == library.sha256
    assert (ours.channel_means, ours.channel_stds) == (library.channel_means, library.channel_stds)
    assert ours.classes == library.classes


def test_the_ordinary_way_measures_what_the_library_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("gpu", monkeypatch)
    from card.ordinary import OrdinaryWay  # type: ignore[import-not-found]
    from card.runs import (  # type: ignore[import-not-found]
        EAGER,
        TINY,
        random_images,
        spec_of,
        trainer_of,
    )

    from perigee import registry
    from perigee.blocks.measures import Metrics

    # One mini-batch, since the other way shuffles them.
    images = random_images(TINY.batch, TINY.test)
    trainer = trainer_of(spec_of("convnet-32", "float32", TINY), images, "cpu", EAGER)
    (ours,) = registry.load(Metrics())(trainer).after_epoch(0, last=True)
    way = OrdinaryWay("convnet-32", "float32", images, "cpu", TINY, tmp_path)
    found = {**way.test_metrics(), **way.train_metrics()}
    for name, value in found.items():
        assert value == pytest.approx(ours[name], rel=1e-4), name
    assert set(found) == {"train_loss", "train_error", "gradient_norm", "test_loss", "test_error"}
