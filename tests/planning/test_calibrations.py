"""Calibrations: which runs are measured, the record, and what is believed before it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perigee.blocks.measures import Measure, Metrics, Steps
from perigee.configuration.runs import resolved_run
from perigee.errors import PerigeeError
from perigee.paths import CALIBRATIONS, ROOT
from perigee.planning import costs
from perigee.planning.calibrations import Calibration, keep, read_calibrations
from perigee.planning.costs import Record, Source, calibrated_records, estimate
from perigee.planning.kinds import calibration_inputs, calibration_receipt, kinds
from perigee.planning.products import DatasetProduct, RunProduct
from perigee.planning.shapes import shape_of
from support.planning import Project, name_of

HERE, CARD = "this processor", "a card"
SPEC: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "scale_invariant": True, "width": 8},
    "optimiser": {"name": "sgd", "learning_rate": 0.1},
    "batch_size": 128,
    "seed": 3,
}


@pytest.fixture(autouse=True)
def _this_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "hardware", lambda: {"processor": HERE})


def run(*measures: Measure, **changes: Any) -> RunProduct:
    spec = resolved_run(SPEC | changes, "run", "file")
    return RunProduct(spec, DatasetProduct(spec.dataset), 10, measures or (Metrics(),))


def calibration(seconds_per_step: float, device: str = CARD, **changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "device": device,
        "hardware": {"gpu": device, "processor": HERE},
        "versions": {"torch": "2"},
        "date": "2026-01-01T00:00:00Z",
        "run": SPEC,
        "measures": ({"name": "metrics"},),
        "steps_per_epoch": 12,
        "steps": 100,
        "seconds_per_step": seconds_per_step,
        "seconds_per_pass": 1.0,
    }
    return Calibration(**values | changes)


def record(seconds: float, hardware: str = HERE, source: Source = Source.RUN) -> Record:
    measures = ('{"name":"metrics"}',)
    return Record(shape_of(SPEC), seconds, None, hardware, None, source, (measures, ()), HERE)


# Which runs are measured


def test_what_does_not_change_the_cost_makes_no_kind() -> None:
    def shape(**changes: Any) -> str:
        return shape_of(SPEC | changes)

    same: list[dict[str, Any]] = [
        {"seed": 9},
        {"optimiser": {"name": "sgd", "learning_rate": 3, "weight_decay": 0.1}},
        {"schedule": {"name": "cosine", "horizon": 5}},
        {"dataset": {"name": "digits", "label_noise": 0.2}},
        {"parent": {"run": "any"}},
    ]
    assert {shape(**changes) for changes in same} == {shape()}
    others: list[dict[str, Any]] = [
        {"batch_size": 64},
        {"precision": "tf32"},
        {"gradient": "full_batch"},
        {"task": {"name": "streamed_classification"}},
        {"model": SPEC["model"] | {"width": 4}},
        {"dataset": {"name": "digits", "train_images": 400}},
        {"optimiser": {"name": "adam", "learning_rate": 0.1}},
    ]
    assert len({shape(), *(shape(**changes) for changes in others)}) == 1 + len(others)


def named(project: Project, *targets: str) -> dict[str, int]:
    """The run that is measured of each kind, and how many are of the kind."""
    return {name_of(kind.run): kind.runs for kind in kinds(project.layout(), targets)}


def test_one_run_of_each_kind_is_measured_that_of_the_lowest_rate(project: Project) -> None:
    project.sweep("fig3")["sweep"]["optimiser.learning_rate"] = [0.6, 0.5, 0.3]
    name = "run convnet-digits-lr{}-wd0.01-seed{}/e4"
    # Of 0.1 steps are measured, of 0.3 checkpoints are kept for the fork.
    assert named(project, "everything") == {
        name.format("0.5", 0): 2,
        name.format("0.3", 0): 1,
        name.format("0.1", 0): 1,
        "run convnet-digits-lr0.3-wd0.01-seed0-fork-before_destabilisation/e3": 1,
        name.format("0.15", 0): 2,
    }
    assert named(project, "periodic_fig6") == {name.format("0.15", 0): 2}


def test_what_is_finished_is_not_measured(project: Project) -> None:
    project.make("periodic_fig3")
    assert not named(project, "periodic_fig3")
    assert named(project, "periodic_fig6")
    layout = project.layout()
    assert calibration_receipt(layout, ["periodic_fig3"]) == []


def test_the_job_is_told_of_runs_that_start_from_nothing(project: Project) -> None:
    layout = project.layout()
    (receipt,) = calibration_receipt(layout, ["periodic_fig5"])
    name = Path(receipt).name.removesuffix(".1")
    told = json.loads(Path(layout.specs, f"{name}.json").read_text())["kinds"]
    assert len(told) == 2
    assert all("parent" not in one["run"] for one in told)
    (dataset,) = layout.plan.datasets
    assert {one["dataset"] for one in told} == {f"{layout.store}/{dataset}"}
    assert calibration_inputs(layout, ["periodic_fig5"]) == [layout.receipts.of(dataset)]
    Path(receipt).parent.mkdir(parents=True, exist_ok=True)
    Path(receipt).touch()
    (again,) = calibration_receipt(project.layout(), ["periodic_fig5"])
    assert again == receipt.removesuffix("1") + "2", "measured again whenever asked for"


# The record


def test_a_calibration_replaces_that_of_its_kind_and_device_alone(tmp_path: Path) -> None:
    file = tmp_path / "records/calibrations.json"
    assert read_calibrations(file) == ()
    others = [
        calibration(2, "another card"),
        calibration(3, measures=({"name": "steps"},)),
        calibration(4, run=SPEC | {"batch_size": 64}),
    ]
    for one in (calibration(1), *others):
        keep(file, one)
    keep(file, calibration(5, run=SPEC | {"seed": 7}))
    assert [one.seconds_per_step for one in read_calibrations(file)] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "EOF"),
        ("[]", "should be an object"),
        ('{"about": "", "calibrations": [{"device": 3}]}', "calibrations[0].device"),
        ("seconds_per_step", "calibrations[0].seconds_per_step"),
        ("measures", "lacks 'name'"),
    ],
)
def test_a_damaged_record_is_told_in_a_sentence(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "calibrations.json"
    wrong: dict[str, Any] = {"seconds_per_step": -1.0, "measures": [{}]}
    if content in wrong:
        keep(file, calibration(1))
        document = json.loads(file.read_text())
        document["calibrations"][0][content] = wrong[content]
        content = json.dumps(document)
    file.write_text(content)
    with pytest.raises(PerigeeError) as raised:
        calibrated_records(file)
    sentence = str(raised.value)
    assert sentence.startswith(f"{file} is damaged (")
    assert told in sentence
    assert sentence.endswith("; delete it, and run 'snakemake calibrate' to measure again.")
    assert "\n" not in sentence


def test_the_layout_reads_what_a_job_kept(project: Project) -> None:
    layout = project.layout()
    keep(Path(layout.calibrations), calibration(0.5))
    (found,) = (one for one in layout.records if one.source is Source.CALIBRATION)
    # Twelve steps of half a second, and a second of measures.
    assert (found.seconds_per_epoch, found.hardware, found.processor) == (7, CARD, HERE)


# What is believed before it


def seconds(records: Sequence[Record], *measures: Measure) -> tuple[float | None, Source]:
    cost = estimate(run(*measures), 1, records)
    return cost.seconds, cost.source


def test_finished_runs_on_the_device_come_first_then_calibrations_then_guesses() -> None:
    order = [
        record(1, CARD),  # on the device of the latest calibration
        record(2, ""),  # in progress
        record(4, CARD, Source.CALIBRATION),
        record(5, HERE),  # elsewhere: what was calibrated tells where runs are trained
        record(6, "H200", Source.GUESS),
    ]
    for first, expected in enumerate((1, 2, 4, 5, 6)):
        left = order[first:]
        assert seconds(left) == (expected, left[0].source), left
        assert seconds(left[::-1]) == (expected, left[0].source), left
    assert seconds([]) == (None, Source.RUN)


def test_of_calibrations_the_latest_counts_of_this_machine_if_there_is_one() -> None:
    early, late = (record(t, f"card {t}", Source.CALIBRATION) for t in (1, 2))
    assert seconds([early, late])[0] == 2
    other_machine = Record(**vars(late) | {"processor": "another"})
    assert seconds([early, other_machine])[0] == 1
    assert seconds([other_machine])[0] == 2, "a login node knows those of its compute nodes"


@pytest.mark.parametrize("source", [Source.CALIBRATION, Source.GUESS])
def test_a_calibration_with_other_measures_of_steps_tells_nothing(source: Source) -> None:
    found = record(3, CARD, source)
    assert seconds([found], Metrics())[0] == 3
    assert seconds([found], Steps(), Metrics())[0] is None
    other_pass = Record(**vars(found) | {"seconds_per_epoch": 9.0, "measures": ((), ())})
    assert seconds([found, other_pass], Metrics())[0] == 3, "the same measures are better"
    assert seconds([other_pass], Metrics())[0] == 9


def test_disk_space_without_a_finished_run_is_that_of_the_losses() -> None:
    # 1,437 digits are 12 mini-batches of 128; of each step a loss of 8 bytes is kept.
    assert estimate(run(), 10, [record(3, CARD, Source.CALIBRATION)]).bytes == 8 * 12 * 10


# What ships


@pytest.fixture(scope="module")
def shipping() -> ModuleType:
    """The program that makes what ships."""
    path = ROOT / "benchmarks/shipped_calibrations.py"
    spec = importlib.util.spec_from_file_location("shipped_calibrations", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_ships_is_what_was_measured(shipping: ModuleType) -> None:
    shipped = read_calibrations(CALIBRATIONS)
    assert shipped == shipping.calibrations(ROOT / shipping.SOURCE).calibrations
    assert {one.device for one in shipped} >= {"NVIDIA H200"}
    assert None in {one.seconds_per_pass for one in shipped}, "the plan says so of guesses"
    assert len({one.kind for one in shipped}) == len(shipped) >= 18


def test_captured_steps_and_runs_of_other_cards_are_added(
    shipping: ModuleType, tmp_path: Path
) -> None:
    """From the files of benchmarks/gpu.py, whose form its own test holds."""
    figures = {
        "ms per step": {"median": 0.9, "min": 0.8, "max": 1.1},
        "s per epoch with metrics": 1.3,
        "steps per epoch": 469,
        "timed steps": 600,
        "run": SPEC,
    }
    measured = {"status": "measured", "figures": figures, "took s": 3.0}
    about = {"card": "Some card", "hardware": {"gpu": "Some card"}, "versions": {}, "date": None}
    items = {
        "step: convnet-32 float32 captured": measured,
        "step: convnet-32 float32 eager": measured,
        "step: convnet-32 tf32 captured": {"status": "not measured", "reason": "no time"},
        "sharing: MPS": measured,
        "step: convnet-32 float32 captured_channels_last": measured,
        "runs: 01 some run": {
            "status": "measured",
            "figures": {
                "ms per step": 1.2,
                "s per pass": 0.7,
                "steps per epoch": 391,
                "timed steps": 500,
                "run": SPEC,
                "measures": [{"name": "metrics"}],
                "runs": 3,
            },
        },
        "runs: 02 another run": {"status": "not measured", "reason": "no time"},
    }
    first = json.loads((ROOT / shipping.SOURCE).read_text(encoding="utf-8"))
    (tmp_path / "first.json").write_text(json.dumps(first), encoding="utf-8")
    before = shipping.calibrations(tmp_path / "first.json").calibrations
    for name, tiny in (("gpu_some_card.json", False), ("gpu_tiny.json", True)):
        told = {**about, "tiny": tiny, "items": items}
        (tmp_path / name).write_text(json.dumps(told), encoding="utf-8")
    del told["card"]
    (tmp_path / "gpu_cpu.json").write_text(json.dumps({**told, "tiny": False}), encoding="utf-8")
    *same, added, run = shipping.calibrations(tmp_path / "first.json").calibrations
    assert tuple(same) == before
    assert (added.device, added.measures, added.seconds_per_step) == ("Some card", (), 0.0009)
    assert added.seconds_per_epoch == pytest.approx(469 * 0.0009)
    assert (run.device, run.measures, run.steps) == ("Some card", ({"name": "metrics"},), 500)
    assert run.seconds_per_epoch == pytest.approx(391 * 0.0012 + 0.7)


def test_a_guess_is_made_for_the_kinds_that_were_measured_alone(tmp_path: Path) -> None:
    guesses = calibrated_records(tmp_path / "none")
    cifar = {"dataset": {"name": "cifar10"}, "model": SPEC["model"] | {"width": 32}}
    # docs/gpus.md: 4.05 ms a step with `steps`; 50,000 images are 391 mini-batches of 128.
    cost = estimate(run(Metrics(), Steps(), **cifar), 1000, guesses)
    assert cost.seconds == pytest.approx(1000 * 391 * 4.047e-3)
    assert (cost.source, cost.hardware) == (Source.GUESS, "NVIDIA H200")
    for unmeasured in ({}, cifar | {"batch_size": 64}, cifar | {"precision": "tf32"}):
        assert estimate(run(**unmeasured), 1, guesses).seconds is None
