"""No code that moves a run's weights is missing from its digest.

Every function of the library that is executed from a run's spec to its third step is found by
running it, and changed: each of its constants, one at a time. Each change has to give the run
another digest, or `REASONS` says why the function need not.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from perigee import registry
from perigee.analysis.inputs import read_metrics
from perigee.checkpoints import KeptCheckpoints
from perigee.data.arrays import ArrayDataset, ArraySplit
from perigee.data.building import build_dataset
from perigee.data.saving import load_dataset, save_dataset
from perigee.identity.code import PACKAGE_FOLDER, source_digest
from perigee.identity.products import run_identity
from perigee.kernel.execution import prepare
from perigee.kernel.trainer import Moment, Start, Trainer
from perigee.spec import RunSpec

CONVNET = {"name": "convnet", "width": 1, "scale_invariant": True}
SGD = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.01}
PLAIN = {
    "dataset": {"name": "digits"},
    "model": CONVNET,
    "optimiser": SGD,
    "batch_size": 20,
    "seed": 0,
}
FOLDER = {"name": "image_folder", "folder": "images", "train_images": 24, "resolution": 16}

RUNS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "standard, momentum, undecayed": {
        **PLAIN,
        "model": {**CONVNET, "scale_invariant": False},
        "optimiser": {**SGD, "momentum": 0.9, "undecayed": ["normalisation", "other"]},
    },
    "resnet, adam, float64, sphere": {
        **PLAIN,
        "model": {"name": "resnet18", "width": 1, "scale_invariant": True, "head_seed": 1},
        "optimiser": {"name": "adam", "learning_rate": 0.1, "weight_decay": 0.1},
        "precision": "float64",
        "constraint": {"name": "fixed_norm"},
    },
    "large images, tf32, cosine, augmented": {
        **PLAIN,
        "dataset": {"name": "cifar10"},
        "precision": "tf32",
        "schedule": {"name": "cosine", "horizon": 3},
        "augmentation": {"name": "crop_and_flip", "padding": 1, "flip": True},
        "constraint": {"name": "fixed_norm", "norm": 3},
    },
    "projected, filters alike": {
        **PLAIN,
        "optimiser": {"name": "projected_sgd", "effective_learning_rate": 0.01},
        "constraint": {"name": "equal_filter_norms"},
    },
    "full batch, smoothed, steps": {
        **PLAIN,
        "gradient": "full_batch",
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "schedule": {"name": "steps", "milestones": [1], "gamma": 0.1},
    },
    "fork at an epoch": {
        **PLAIN,
        "parent": {"run": PLAIN, "epochs": 3, "at": {"name": "at_epoch", "epoch": 1}},
    },
    "fork before a destabilisation": {
        **PLAIN,
        "optimiser": {**SGD, "momentum": 0.9},
        "constraint": {"name": "fixed_norm"},
        "parent": {
            "run": {**PLAIN, "constraint": {"name": "fixed_norm"}},
            "epochs": 300,
            "at": {"name": "before_destabilisation", "epochs": 3},
        },
    },
    "streamed": {
        **PLAIN,
        "batch_size": 8,
        "dataset": FOLDER,
        "task": {"name": "streamed_classification"},
        "augmentation": {"name": "resized_crop_and_flip"},
    },
    "streamed, full batch, not augmented": {
        **PLAIN,
        "batch_size": 8,
        "dataset": FOLDER,
        "task": {"name": "streamed_classification"},
        "gradient": "full_batch",
    },
}
"""Together they reach all that a run can be made of, but for several processes and GPUs."""

STEPS = 3

Function = tuple[str, str]
"""Module and qualified name, such as ("kernel.trainer", "Trainer.update")."""


def sources(folder: Path) -> None:
    """Write image files, small and large arrays, and the course of a run that destabilises."""
    draws = np.random.default_rng(0)
    for split, images in (("train", 24), ("val", 8)):
        for number in range(images):
            path = folder / "images" / split / f"class{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(0, 256, (20, 18, 3), np.uint8)).save(path)
    spec: Any = registry.make("dataset", FOLDER)
    (folder / "image_folder").mkdir()
    save_dataset(build_dataset(spec, folder, download=False), folder / "image_folder")
    for name, shape in (("digits", (1, 8, 8)), ("cifar10", (3, 32, 32))):
        images, labels = draws.integers(0, 256, (50, *shape), np.uint8), np.arange(50) % 10
        split = ArraySplit(images, labels.astype(np.uint8))
        (folder / name).mkdir()
        data = ArrayDataset({"train": split, "test": split}, 10, (127.0,), (70.0,), "random")
        save_dataset(data, folder / name)
    falling, rising = np.linspace(2, 1, 90), np.linspace(1, 2, 10)
    loss, norm = 3 * [*[1e-3] * 90, *[1.0] * 10], 3 * [*falling, *rising]
    course = pd.DataFrame({"epoch": range(300), "train_loss": loss, "weight_norm": norm})
    (folder / "course").mkdir()
    np.save(folder / "course" / "rows.npy", course.to_records(index=False))


def keep_parent(run: RunSpec, folder: Path) -> None:
    """Write a checkpoint of a parent."""
    data = load_dataset(folder / run.dataset.name)
    trainer = Trainer(run, data, prepare("cpu", run.precision, data.image_shape))
    measure = registry.make("measure", {"name": "checkpoints"})
    live = registry.load(measure)(trainer, **measure.parameters)
    (folder / "kept").mkdir(exist_ok=True)
    np.save(folder / "kept" / "rows.npy", live.after_epoch(0, False))
    described = {"details": {"description": live.description}}
    (folder / "kept" / "provenance.json").write_text(json.dumps(described))


def start_of(spec: RunSpec, folder: Path) -> Start | None:
    """Find where a fork starts, as a job does."""
    if spec.parent is None:
        return None
    parent = spec.parent
    kept = KeptCheckpoints.of_measure(folder / "kept")
    course = (
        read_metrics(folder / "course", parent.epochs)
        if parent.at.reads
        else pd.DataFrame({"epoch": range(parent.epochs)})
    )
    registry.load(parent.at)(course, **parent.at.parameters)
    return Start(kept.checkpoint(0), 0, parent.run)


def three_steps(values: dict[str, Any], folder: Path) -> None:
    """Do what jobs do from the spec to the third step."""
    spec = RunSpec.from_dict(values)
    if spec.parent is not None:
        keep_parent(spec.parent.run, folder)
    data = load_dataset(folder / spec.dataset.name)
    execution = prepare("cpu", spec.precision, data.image_shape)
    trainer = Trainer(spec, data, execution, start_of(spec, folder))
    steps = (moment for e in range(STEPS) for moment in trainer.epoch(e) if moment is Moment.STEP)
    assert len(list(islice(steps, STEPS))) == STEPS


def executed(action: Callable[[], None]) -> set[Function]:
    """The functions of the library that are called meanwhile."""
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return {found for code in called if (found := function_of(code)) is not None}


def function_of(code: CodeType) -> Function | None:
    """The function that some code is in; generators and lambdas belong to what is around them."""
    path = Path(code.co_filename)
    if not path.is_relative_to(PACKAGE_FOLDER):
        return None
    module = ".".join(path.relative_to(PACKAGE_FOLDER).with_suffix("").parts)
    names = [name for name in code.co_qualname.split(".") if not name.startswith("<")]
    return module.removesuffix(".__init__"), ".".join(names)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[Function]]:
    """The functions that each run executes."""
    folder = tmp_path_factory.mktemp("sources")
    sources(folder)
    torch.set_num_threads(1)
    result = {}
    for name, values in RUNS.items():
        called = executed(lambda values=values: three_steps(values, folder))
        # Classes and modules are executed when they are first imported, whenever that was.
        functions = {one for one in called if isinstance(node_of(*one), ast.FunctionDef)}
        result[name] = functions | {(module, "") for module, _ in functions}
    return result


@cache
def tree_of(module: str) -> ast.Module:
    path = PACKAGE_FOLDER.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def node_of(module: str, name: str) -> ast.AST:
    """The definition of a function or class; without a name, the module itself."""
    node: ast.AST = tree_of(module)
    for part in name.split(".") if name else ():
        definitions = (n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef))
        node = next(one for one in definitions if one.name == part and one is not node)
    return node


def left_out(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that a digest leaves out: annotations, docstrings, words, loggers."""
    parts: list[ast.AST | None] = []
    if isinstance(node, ast.FunctionDef):
        arguments = [one for one in ast.walk(node.args) if isinstance(one, ast.arg)]
        parts = [node.returns, *(argument.annotation for argument in arguments)]
    elif isinstance(node, ast.AnnAssign):
        parts = [node.annotation]
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        parts = [*node.exc.args, *node.exc.keywords]
    elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith(("logger.", "logging.getLogger"))
    ):
        parts = [node]
    return [part for part in parts if part is not None]


def parts_of(function: ast.AST) -> list[ast.AST]:
    """The nodes of a function that count, without those of functions within."""
    without = {part for node in ast.walk(function) for part in left_out(node)}
    found, waiting = [], [function]
    while waiting:
        node = waiting.pop()
        found.append(node)
        inner = (one for one in ast.iter_child_nodes(node) if one not in without)
        waiting += [one for one in inner if not isinstance(one, ast.FunctionDef)]
    return found


def changes(function: ast.AST) -> Iterator[tuple[ast.AST, str, Any]]:
    """A node, its attribute and another value: every constant, or a comparison or name if none.

    A function that only has a docstring has nothing to be changed.
    """
    parts = parts_of(function)
    constants = [n for n in parts if isinstance(n, ast.Constant) and n.value is not ...]
    for constant in constants:
        yield constant, "value", other_value(constant.value)
    for part in [] if constants else parts:
        if isinstance(part, ast.Compare):
            yield part, "ops", [ast.Is() for _ in part.ops]
            return
        if isinstance(part, ast.Attribute | ast.Name):
            yield part, *(("attr", "x") if isinstance(part, ast.Attribute) else ("id", "x"))
            return


def other_value(value: Any) -> Any:
    """A value that is equal in no way."""
    if isinstance(value, bool | None):
        return not value
    return value + {bytes: b"x", str: "x"}.get(type(value), 1)


def mutants(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield each change of a function, and the changed source around it.

    The source is the module's statement that contains the function, or the whole module.
    """
    function, around = node_of(module, name), node_of(module, name.partition(".")[0])
    for node, attribute, value in changes(function):
        kept = getattr(node, attribute)
        told = f"{module}:{name}, line {node.lineno}: {ast.unparse(node)}"  # type: ignore[attr-defined]
        setattr(node, attribute, value)
        yield told, ast.unparse(around)
        setattr(node, attribute, kept)


SPEC = "what it makes is the spec, which is in the digest"
GIVEN = "that code is given the spec's values is held by tests/unit/test_registry.py"
RATE = "with another name, what is left is not what the update rule's code takes"
REFUSES = "it only refuses"

REASONS: dict[Function, str] = {
    ("blocks.base", ""): SPEC,
    ("blocks.base", "Block.parameters"): GIVEN,
    ("blocks.base", "as_integer"): SPEC,
    ("blocks.base", "as_number"): SPEC,
    ("blocks.base", "_as_truth"): SPEC,
    ("blocks.base", "as_tuple"): SPEC,
    ("blocks.base", "plain"): GIVEN,
    ("blocks.datasets", ""): "defaults are held by tests/planning/test_defaults.py",
    ("blocks.datasets", "_as_subfolder"): SPEC,
    ("blocks.optimisers", ""): "defaults are held by tests/planning/test_defaults.py",
    ("blocks.optimisers", "ProjectedSGD._nothing_else"): REFUSES,
    ("blocks.optimisers", "ProjectedSGD.rate_name"): RATE,
    ("blocks.optimisers", "UpdateRule.rate_name"): RATE,
    ("data.saving", ""): "it only has a type",
    ("data.saving", "load_dataset"): "it chooses the reader, which is in the digest, by the kind "
    "of storage that a data set declares",
    ("registry", ""): "which code a name stands for is in the digest",
    ("registry", "load"): "which code a name stands for is in the digest",
    ("registry", "make"): SPEC,
    ("spec", ""): "defaults are held by tests/planning/test_defaults.py",
    ("spec", "Parent.from_dict"): SPEC,
    ("spec", "RunSpec._blocks_fit_the_data"): REFUSES,
    ("spec", "RunSpec._network_fits_the_task"): REFUSES,
    ("spec", "RunSpec._projected_on_a_sphere"): REFUSES,
    ("spec", "RunSpec._rescaled_by_the_theorems"): REFUSES,
    ("spec", "RunSpec.from_dict"): SPEC,
}
"""Functions, and modules outside of functions, that are executed and need not be in a digest."""


@cache
def modules_of(run: str) -> dict[str, str]:
    """The digests of the modules that a run's digest covers, its parent's included."""
    found: dict[str, str] = {}
    spec: RunSpec | None = RunSpec.from_dict(RUNS[run])
    while spec is not None:
        found.update(run_identity(spec, "0" * 16).modules)
        spec = spec.parent.run if spec.parent else None
    return {name.removeprefix("perigee."): digest for name, digest in found.items()}


def test_runs_reach_the_kernel(found: dict[str, set[Function]]) -> None:
    """Otherwise the tests below say little."""
    reached = {f"{module}:{name}" for functions in found.values() for module, name in functions}
    assert reached >= {
        "analysis.forks:before_destabilisation",
        "checkpoints:KeptCheckpoints.checkpoint",
        "data.array_files:load_arrays",
        "data.augmentations.crop_and_flip:CropAndFlip.__call__",
        "data.order:epoch_order",
        "models.head:redraw_head",
        "models.resnet18:Block.forward",
        "tasks.single_label:Normalisation.__call__",
        "tasks.streaming:StreamedSplit._batches",
        "kernel.constraints.equal_filter_norms:EqualFilterNorms.apply",
        "kernel.constraints.fixed_norm:FixedNorm.apply",
        "kernel.execution:prepare",
        "kernel.flat:FlatParameters.coefficients",
        "kernel.losses.cross_entropy:cross_entropy",
        "kernel.optimisers.adam:Adam.step",
        "kernel.optimisers.projected_sgd:ProjectedSGD.step",
        "kernel.optimisers.sgd:SGD.step",
        "kernel.schedules.cosine:Cosine.factors",
        "kernel.trainer:Trainer._go_on",
        "kernel.trainer:Trainer.update",
    }


def test_what_is_executed_is_in_the_digest_or_has_a_reason(
    found: dict[str, set[Function]],
) -> None:
    missing = {
        function
        for name, functions in found.items()
        for function in functions
        if function[0] not in modules_of(name)
    }
    assert missing == set(REASONS)


def test_every_change_alters_the_digest(found: dict[str, set[Function]]) -> None:
    tested = 0
    for module, name in sorted(set().union(*found.values()) - set(REASONS)):
        before = source_digest(ast.unparse(tree_of(module)))
        digests = {
            modules_of(run)[module]
            for run, functions in found.items()
            if (module, name) in functions
        }
        assert digests == {before}, "the digest is that of the module's source"
        before = source_digest(ast.unparse(node_of(module, name.partition(".")[0])))
        for told, source in mutants(module, name):
            assert source_digest(source) != before, told
            tested += 1
    assert tested > 400
