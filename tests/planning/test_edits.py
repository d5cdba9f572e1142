"""An edit of the code gives a new digest to the runs whose numbers it may change, to no others."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perigee import registry
from perigee.identity import code, equivalences
from perigee.identity.products import (
    Identity,
    dataset_identity,
    evaluation_identity,
    measure_identity,
    run_identity,
)
from perigee.spec import RunSpec
from support.package_copies import PackageCopy, forget, package_copy

DIGITS = {"name": "digits"}
CONVNET = {"name": "convnet", "width": 2, "scale_invariant": True}
STANDARD = {**CONVNET, "scale_invariant": False}
RESNET = {"name": "resnet18", "width": 2, "scale_invariant": True}
SGD = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.01}
MOMENTUM = {**SGD, "momentum": 0.9}
ADAM = {"name": "adam", "learning_rate": 0.1}
PLAIN = {"dataset": DIGITS, "model": CONVNET, "optimiser": SGD, "batch_size": 32, "seed": 0}
FILES = {"name": "image_folder", "folder": "images", "train_images": 9, "resolution": 32}
SPHERE = {**PLAIN, "constraint": {"name": "fixed_norm"}}
PROJECTED = {**SPHERE, "optimiser": {"name": "projected_sgd", "effective_learning_rate": 0.01}}
EQUAL = {**PROJECTED, "constraint": {"name": "equal_filter_norms"}}


def fork(parent: dict[str, Any], at: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**parent, **changed, "parent": {"run": parent, "epochs": 9, "at": at}}


RUNS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "standard": {**PLAIN, "model": STANDARD, "optimiser": MOMENTUM},
    "resnet": {**PLAIN, "model": RESNET, "optimiser": ADAM, "precision": "float64"},
    "cosine": {**PLAIN, "model": RESNET, "schedule": {"name": "cosine", "horizon": 9}},
    "sphere": SPHERE,
    "augmented": {
        **PLAIN,
        "augmentation": {"name": "crop_and_flip", "padding": 1, "flip": True},
        "schedule": {"name": "steps", "milestones": [3], "gamma": 0.1},
    },
    "smoothed": {
        **PLAIN,
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "gradient": "full_batch",
    },
    "adam": {**PLAIN, "optimiser": ADAM, "dataset": {"name": "cifar10"}, "precision": "tf32"},
    "fork": fork(PLAIN, {"name": "at_epoch", "epoch": 3}, optimiser=ADAM),
    "sphere fork": fork(SPHERE, {"name": "before_destabilisation", "epochs": 3}),
    "projected": PROJECTED,
    "equal filters fork": fork(
        EQUAL,
        {"name": "at_epoch", "epoch": 9},
        optimiser={"name": "projected_sgd", "effective_learning_rate": 0.1},
    ),
    "streamed": {
        **PLAIN,
        "dataset": FILES,
        "task": {"name": "streamed_classification"},
        "augmentation": {"name": "resized_crop_and_flip"},
    },
}
ALL = set(RUNS)
WITH_PROJECTED_SGD = {"projected", "equal filters fork"}
WITH_SGD = ALL - {"resnet", "adam"} - WITH_PROJECTED_SGD
"""The fork trains with Adam, but its parent with SGD."""
FORKS = {"fork", "sphere fork", "equal filters fork"}
ON_A_SPHERE = {"sphere", "sphere fork", *WITH_PROJECTED_SGD}
WITH_RESNET = {"resnet", "cosine"}
OF_ARRAYS = ALL - {"streamed"}


def digests() -> dict[str, str]:
    """The digests of all runs."""
    return {
        name: run_identity(RunSpec.from_dict(spec), "0" * 16).digest for name, spec in RUNS.items()
    }


def others() -> dict[str, str]:
    """The digests of measures, evaluations and data sets."""
    run, kept = Identity("run", "run", {}, "", {}), Identity("measure", "kept", {}, "", {})
    found = {
        f"measure {name}": measure_identity(block(), run).digest  # type: ignore[arg-type]
        for name, block in registry.REGISTRY["measure"].items()
    }
    predictions: Any = registry.make("evaluation", {"name": "predictions"})
    found["predictions"] = evaluation_identity(predictions, run, 1, kept).digest
    for name in ("digits", "digit_pairs", "cifar10"):
        dataset: Any = registry.make("dataset", {"name": name})
        found[f"data set {name}"] = dataset_identity(dataset).digest
    return found


CODE: dict[str, set[str]] = {
    "analysis": FORKS,
    "analysis.forks": FORKS,
    "analysis.inputs": {"sphere fork"},
    "analysis.periods": FORKS,
    "checkpoints": FORKS,
    "data": ALL,
    "data.array_files": OF_ARRAYS,
    "data.arrays": OF_ARRAYS,
    "data.augmentations": ALL,
    "data.augmentations.crop_and_flip": {"augmented"},
    "data.augmentations.none": ALL - {"augmented", "streamed"},
    "data.augmentations.resized_crop_and_flip": {"streamed"},
    "data.file_datasets": {"streamed"},
    "data.image_folder": {"streamed"},
    "data.manifest": ALL,
    "data.order": ALL,
    "data.transforms": {"streamed"},
    "measures": FORKS,
    "measures.base": FORKS,
    "measures.checkpoints": FORKS,
    "measures.passes": {"sphere fork"},
    "models": ALL,
    "models.convnet": ALL - WITH_RESNET,
    "models.declaration": ALL,
    "models.head": ALL,
    "models.resnet18": WITH_RESNET,
    "tasks": ALL,
    "kernel.task": ALL,
    "tasks.classification": OF_ARRAYS,
    "tasks.single_label": ALL,
    "tasks.streamed_classification": {"streamed"},
    "tasks.streaming": {"streamed"},
    "kernel": ALL,
    "kernel.batch_norm": ALL,
    "kernel.constraints": ALL,
    "kernel.constraints.equal_filter_norms": {"equal filters fork"},
    "kernel.constraints.fixed_norm": ON_A_SPHERE,
    "kernel.constraints.none": ALL - ON_A_SPHERE,
    "kernel.execution": ALL,
    "kernel.flat": ALL,
    "kernel.graphs": ALL,
    "kernel.losses": ALL,
    "kernel.losses.cross_entropy": ALL,
    "kernel.mixed_precision": ALL,
    "kernel.names": ALL,
    "kernel.optimisers": ALL,
    "kernel.optimisers.adam": {"resnet", "adam", "fork"},
    "kernel.optimisers.projected_sgd": WITH_PROJECTED_SGD,
    "kernel.optimisers.sgd": WITH_SGD,
    "kernel.ranks": ALL,
    "kernel.running_statistics": ALL,
    "kernel.schedules": ALL,
    "kernel.schedules.base": ALL,
    "kernel.schedules.constant": ALL - {"cosine", "augmented"},
    "kernel.schedules.cosine": {"cosine"},
    "kernel.schedules.steps": {"augmented"},
    "kernel.trainer": ALL,
}
"""Every module that the digest of a run hangs on, and the runs. One import more shows here."""


def test_the_code_of_every_run() -> None:
    found: dict[str, set[str]] = {}
    for name, values in RUNS.items():
        spec: RunSpec | None = RunSpec.from_dict(values)
        while spec is not None:
            for module in run_identity(spec, "0" * 16).modules:
                found.setdefault(module.removeprefix("perigee."), set()).add(name)
            spec = spec.parent.run if spec.parent else None
    assert found == CODE


def test_nothing_around_the_kernel_is_in_it() -> None:
    around = ("store", "jobs", "progress", "planning", "plotting", "reporting", "configuration")
    around += ("training.recording", "training.row_log", "training.saved_state", "training.loop")
    around += ("training.beginning", "measures.metrics", "measures.steps", "measures.layers")
    around += ("measures.filters",)
    assert not [module for module in CODE if module.startswith(around)]


def test_what_training_imports_is_in_its_code_or_harmless() -> None:
    """Seen from outside: what a process has loaded that built a trainer and took a step."""
    program = f"""
import sys
import numpy as np
from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.spec import RunSpec
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Trainer

split = ArraySplit(np.zeros((64, 1, 8, 8), np.uint8), np.zeros(64, np.uint8))
data = ArrayDataset({{"train": split, "test": split}}, 10, (1.0,), (1.0,), "")
spec = RunSpec.from_dict({PLAIN})
trainer = Trainer(spec, data, prepare("cpu", spec.precision, data.image_shape))
next(trainer.epoch(0))
print(*(name for name in sys.modules if name.split(".")[0] == "perigee"))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.removeprefix("perigee.") for name in result.stdout.split()}
    harmless = {name for name in loaded if code._is_harmless(f"perigee.{name}")} | {"perigee"}
    expected = {module for module, runs in CODE.items() if "plain" in runs}
    # The trainer is given arrays; only a job reads them from the disk.
    assert loaded - harmless == expected - {"data.array_files", "data.manifest"}


@pytest.fixture(scope="module", autouse=True)
def no_proofs() -> Iterator[None]:
    """The proofs about the project's own code are left out: the copy's digests have none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equivalences, "EQUIVALENCES", Path("none.json"))
        yield


@pytest.fixture(scope="module")
def before() -> tuple[dict[str, str], dict[str, str]]:
    return digests(), others()


@pytest.fixture(scope="module")
def shared_copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageCopy]:
    with package_copy(tmp_path_factory.mktemp("copy")) as copy:
        yield copy


@pytest.fixture
def copy(shared_copy: PackageCopy) -> Iterator[PackageCopy]:
    """A copy of the package, without other tests' edits."""
    kept = {path: path.read_bytes() for path in shared_copy.root.rglob("*.py")}
    forget()
    yield shared_copy
    for path in shared_copy.root.rglob("*.py"):
        if path not in kept:
            path.unlink()
        elif path.read_bytes() != kept[path]:
            path.write_bytes(kept[path])


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name, digest in before.items() if after[name] != digest}


AROUND = {
    "saving": ("training.saved_state", "training.beginning"),
    "recording": ("training.recording", "training.row_log", "training.loop"),
    "jobs": ("jobs.training", "jobs.watching", "jobs.following"),
    "progress and stopping": ("progress", "interruption"),
    "the store": ("store.runs", "store.writing", "store.locks"),
    "the proof of declarations": ("models.proof",),
    "analyses, claims, figures": ("analysis.similarity", "claims.columns", "plotting.style"),
    "data sets": ("data.digits", "data.cifar", "data.fashion_mnist", "data.downloading"),
}


@pytest.mark.parametrize("what", AROUND)
def test_code_around_the_kernel_changes_no_run(what: str, copy: PackageCopy, before: Any) -> None:
    for module in AROUND[what]:
        copy.append(module, "EDITED = 1")
    assert changed(before[0], digests()) == set()


@pytest.mark.parametrize(
    "module",
    [
        "kernel.trainer",
        "kernel.execution",
        "kernel.flat",
        "kernel.optimisers.sgd",
        "kernel.optimisers.adam",
        "kernel.optimisers.projected_sgd",
        "kernel.constraints.equal_filter_norms",
        "kernel.constraints.fixed_norm",
        "kernel.losses.cross_entropy",
        "models.convnet",
        "models.resnet18",
        "data.order",
        "data.augmentations.crop_and_flip",
        "checkpoints",
        "measures.passes",
        "tasks.streaming",
    ],
)
def test_code_of_the_kernel_changes_the_runs_that_use_it(
    module: str, copy: PackageCopy, before: Any
) -> None:
    copy.append(module, "EDITED = 1")
    assert changed(before[0], digests()) == CODE[module]


def test_a_column_more_in_a_measure_changes_that_measure(copy: PackageCopy, before: Any) -> None:
    copy.edit(
        "measures.metrics", '"effective_step_size",\n', '"effective_step_size",\n    "new",\n'
    )
    assert changed(before[0], digests()) == set()
    # The measures that test with recomputed statistics have the same columns.
    further = {"measure recomputed_metrics", "measure recomputed_test_hits"}
    assert changed(before[1], others()) == {"measure metrics", *further}


def test_a_data_sets_code_changes_that_data_set(copy: PackageCopy, before: Any) -> None:
    copy.append("data.digit_pairs", "EDITED = 1")
    assert changed(before[1], others()) == {"data set digit_pairs"}


class _Everywhere(ast.NodeTransformer):
    """Makes an edit in every function."""

    def __init__(self, edit: Callable[[ast.FunctionDef], None]) -> None:
        self.edit = edit
        self.edited = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        self.edit(node)
        self.edited += 1
        return node


def log_something(node: ast.FunctionDef) -> None:
    node.body.insert(0, ast.parse("logger.info('now in %s', __name__)").body[0])


def annotate(node: ast.FunctionDef) -> None:
    if node.decorator_list:
        return
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = ast.parse("Sequence[Everything]", mode="eval").body
    node.returns = ast.parse("'Everything'", mode="eval").body
    node.body.append(ast.parse("unused: Everything").body[0])


def reword(node: ast.FunctionDef) -> None:
    for part in ast.walk(node):
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call):
            part.exc.args = [ast.Constant("Something else is wrong.")]


EVERYWHERE = {
    "a log line": (log_something, "import logging\nlogger = logging.getLogger('perigee')\n"),
    "annotations and their import": (
        annotate,
        "from collections.abc import Sequence\nfrom typing import Any as Everything\n",
    ),
    "reworded errors": (reword, ""),
    "comments, docstrings and layout": (lambda node: None, '"""Another text."""\n'),
}


@pytest.mark.parametrize("what", EVERYWHERE)
def test_an_edit_in_every_function_of_the_kernel_changes_no_run(
    what: str, copy: PackageCopy, before: Any
) -> None:
    edit, top = EVERYWHERE[what]
    everywhere = _Everywhere(edit)
    for module in CODE:
        tree = ast.parse(copy.path(module).read_text(encoding="utf-8"))
        source = ast.unparse(ast.fix_missing_locations(everywhere.visit(tree)))
        copy.path(module).write_text(top + source, encoding="utf-8")
    forget()
    assert everywhere.edited > 150
    assert changed(before[0], digests()) == set()


def digests_by(copy: PackageCopy) -> dict[str, str]:
    """The digests of all runs, as the copied library computes them."""
    program = """
import json, sys
from perigee.identity.products import run_identity
from perigee.spec import RunSpec

def digest(run):
    return run_identity(RunSpec.from_dict(run), "0" * 16).digest

json.dump({name: digest(run) for name, run in json.load(sys.stdin).items()}, sys.stdout)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(copy.root.parent)},
        input=json.dumps(RUNS),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(result.stdout)
    return found


PERCEPTRON = '''

class Perceptron(Model, name="perceptron", code="perigee.models.perceptron:build"):
    """Another network."""
'''


def test_declaring_something_changes_no_run(copy: PackageCopy, before: Any) -> None:
    """A parameter that is off by default, and a new block with its module."""
    momentum = "    momentum: BelowOne = 0.0\n"
    copy.edit("blocks.optimisers", momentum, momentum + "    nesterov: bool = False\n")
    copy.append("blocks.models", PERCEPTRON)
    copy.edit("registry", "    models.ConvNet,\n", "    models.ConvNet,\n    models.Perceptron,\n")
    copy.write("models.perceptron", "def build(): return None\n")
    assert digests_by(copy) == before[0]


def test_another_implementation_behind_a_name_changes_the_runs_that_use_it(
    copy: PackageCopy, before: Any
) -> None:
    copy.edit("blocks.optimisers", "sgd:SGD", "sgd:OtherSGD")
    assert changed(before[0], digests_by(copy)) == WITH_SGD
