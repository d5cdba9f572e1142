"""Documents against schemas; the sentences themselves are tested with Snakemake around them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from perigee.configuration import models
from perigee.configuration.reading import read_yaml
from perigee.configuration.runs import resolved_run
from perigee.configuration.validation import checked, validated_block
from perigee.errors import PerigeeError
from support.configuration import figure_of

SGD = {"name": "sgd", "learning_rate": 0.1}
RUN = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "width": 2, "scale_invariant": True},
    "optimiser": SGD,
    "batch_size": 128,
    "seed": 0,
}


def test_defaults_are_filled_in() -> None:
    run = resolved_run(RUN, "run", "file.yaml")
    assert run.schedule.name == "constant"
    assert run.task.name == "classification"
    assert run.constraint.name == "none"
    assert run.loss.full_dict() == {"name": "cross_entropy", "label_smoothing": 0}
    assert run.augmentation.full_dict() == {"name": "none"}
    assert run.gradient == "mini_batch"
    assert run.precision == "float32"
    defaults = {"weight_decay": 0, "momentum": 0, "undecayed": []}
    assert run.optimiser.parameters == {"learning_rate": 0.1, **defaults}
    assert run.parent is None
    assert run.model.parameters["head_norm"] == 10


def test_a_default_written_out_is_the_same_run() -> None:
    written = {**RUN, "optimiser": {**SGD, "momentum": "0e0"}, "schedule": {"name": "constant"}}
    assert resolved_run(written, "run", "f") == resolved_run(RUN, "run", "f")


@pytest.mark.parametrize("text", ["1e-3", "1.0E-03", "0.001", ".001"])
def test_text_that_spells_a_number_is_one(text: str) -> None:
    block = validated_block("optimiser", {**SGD, "learning_rate": text}, "f", "optimiser")
    assert block.parameters["learning_rate"] == 0.001


@pytest.mark.parametrize("text", ["1e-3x", "", "1,5", "none"])
def test_other_text_is_not(text: str) -> None:
    with pytest.raises(PerigeeError, match="must be of type number"):
        validated_block("optimiser", {**SGD, "learning_rate": text}, "f", "optimiser")


@pytest.mark.parametrize("value", [math.nan, math.inf, "nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_are_refused(value: Any) -> None:
    with pytest.raises(PerigeeError, match=r"f: key 'optimiser\.learning_rate' is .*finite"):
        validated_block("optimiser", {**SGD, "learning_rate": value}, "f", "optimiser")


def test_a_truth_value_is_no_number() -> None:
    with pytest.raises(PerigeeError, match="of type number"):
        validated_block("optimiser", {**SGD, "momentum": True}, "f", "optimiser")


@pytest.mark.parametrize(
    ("norm", "is_right"), [(None, True), (2.5, True), (0, False), ("x", False)]
)
def test_an_optional_number(norm: Any, is_right: bool) -> None:
    value = {"name": "fixed_norm", "norm": norm}
    if is_right:
        assert validated_block("constraint", value, "f", "n").parameters["norm"] == norm
    else:
        with pytest.raises(PerigeeError):
            validated_block("constraint", value, "f", "n")


def test_text_stays_text_where_no_number_is_wanted() -> None:
    document = {"description": "1e3", "tests_claims": "true"}
    assert checked(models.Scale, document, "f").description == "1e3"


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a:\n  b: 1\n  c: 2\n  b: 3\n")
    with pytest.raises(PerigeeError, match="line 4: key 'b' stands twice"):
        read_yaml(path)


@pytest.mark.parametrize("content", ["", "- 1\n", "text\n"])
def test_a_file_that_holds_no_mapping(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(content)
    with pytest.raises(PerigeeError, match="holds no mapping"):
        read_yaml(path)


PAPER = yaml.safe_load("""
citation: me
runs:
  base:
    dataset: {name: digits}
    model: {name: convnet, width: 2, scale_invariant: true}
    optimiser: {name: sgd, learning_rate: 0.1}
    batch_size: 128
    seed: 0
figures:
  fig1:
    title: t
    runs:
      swept:
        run: base
        epochs: 3
        sweep: {seed: [0, 1, "1", 1.0], optimiser.learning_rate: [1, 2]}
      other: {run: base, epochs: 2, set: {optimiser.weight_decay: 0.5}}
    tables:
      runs: {analysis: {name: run_metrics}, runs: [swept, other]}
""")


def test_sweeps_expand_to_distinct_runs_in_an_order_of_their_own(tmp_path: Path) -> None:
    figure = figure_of(tmp_path, {"mine": PAPER}, "mine_fig1")
    runs = figure.tables[0].runs
    swept = ("optimiser.learning_rate", "seed")
    assert [tuple(run.swept.get(key) for key in swept) for run in runs[:-1]] == [
        (rate, seed) for rate in (1, 2) for seed in (0, 1)
    ]
    assert [run.epochs for run in runs] == [3, 3, 3, 3, 2]
    assert runs[-1].spec.optimiser.parameters["weight_decay"] == 0.5
    PAPER["figures"]["fig1"]["runs"]["swept"]["sweep"] = {
        "optimiser.learning_rate": [1, 2],
        "seed": [0, 1],
    }
    assert figure_of(tmp_path, {"mine": PAPER}, "mine_fig1").tables == figure.tables


def test_a_table_has_the_values_in_which_its_runs_differ(tmp_path: Path) -> None:
    """The spec's, and not those that are the same in all of its runs."""
    runs = figure_of(tmp_path, {"mine": PAPER}, "mine_fig1").tables[0].runs
    assert [run.swept["optimiser.weight_decay"] for run in runs] == [0, 0, 0, 0, 0.5]
    assert {key for run in runs for key in run.swept} == {
        "optimiser.learning_rate",
        "optimiser.weight_decay",
        "seed",
    }


# Sentences on blocks

ADAM = {"name": "adam", "learning_rate": 0.1}
STEPS = {"name": "steps", "milestones": [1], "gamma": 0.1}
CONVNET = {"name": "convnet", "width": 2, "scale_invariant": True}
IMAGES = {"name": "image_folder", "folder": "x", "train_images": 3, "resolution": 8}


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("optimiser", {**SGD, "name": "sgdd"}, "'k.name' is 'sgdd', which is not an optimiser;"),
        ("optimiser", {**SGD, "name": ["sgd"]}, "'k.name' is '['sgd']', which is not an optimiser"),
        ("optimiser", {"learning_rate": 0.1}, "'k.name' is 'None', which is not an optimiser"),
        ("model", {"name": "convnett"}, "which is not a model; did you mean 'convnet'?"),
        ("optimiser", {"name": "sgd"}, "key 'learning_rate' in 'k' is missing; add it."),
        ("optimiser", {**SGD, "momentun": 1}, "unknown key 'momentun' in 'k'; did you mean"),
        ("optimiser", {**SGD, "learning_rate": 0}, "'k.learning_rate' is 0; it must be greater "),
        ("optimiser", {**SGD, "learning_rate": [1]}, "is [1]; it must be of type number."),
        ("optimiser", {**SGD, "learning_rate": None}, "is None; it must be of type number."),
        ("optimiser", {**SGD, "momentum": 1}, "'k.momentum' is 1; it must be less than 1."),
        ("optimiser", {**ADAM, "betas": [0.9]}, "is [0.9], which has 1 entry; it must have 2."),
        ("optimiser", {**ADAM, "betas": []}, "is [], which has 0 entries; it must have 2."),
        ("optimiser", {**ADAM, "betas": [0, 0, 0]}, "which has 3 entries; it must have 2."),
        ("optimiser", {**ADAM, "betas": [0.9, 1]}, "'k.betas[1]' is 1; it must be less than 1."),
        ("optimiser", {**ADAM, "betas": 0.9}, "'k.betas' is 0.9; it must be of type list."),
        ("schedule", {**STEPS, "milestones": []}, "'k.milestones' is empty; give at least one"),
        ("schedule", {**STEPS, "milestones": [1, 2.5]}, "'k.milestones[1]' is 2.5; it must be of"),
        ("dataset", {"name": "digits", "label_noise": 1.5}, "is 1.5; it must be at most 1."),
        ("dataset", {"name": "digits", "label_noise": -1}, "'k.label_noise' is -1; it must be at"),
        ("dataset", {"name": "digits", "noise_seed": 2**32}, "it must be at most 4294967295."),
        ("dataset", {"name": "digitz"}, "which is not a data set; did you mean 'digits'?"),
        ("dataset", {**IMAGES, "folder": "/x"}, "'k.folder' is '/x'; it must be the name of a f"),
        ("dataset", {**IMAGES, "folder": "../x"}, "it must be the name of a folder or a path "),
        ("dataset", {**IMAGES, "resolution": 0}, "'k.resolution' is 0; it must be at least 1."),
        ("dataset", {**IMAGES, "resize": 7}, "'k.resize' is 7; it must be at least 'resolution'"),
        ("dataset", {**IMAGES, "channel_stds": [1, 1, 0]}, "'k.channel_stds[2]' is 0; it must be"),
        ("model", {**CONVNET, "width": True}, "'k.width' is True; it must be of type integer."),
        ("model", {**CONVNET, "scale_invariant": "yes"}, "is 'yes'; it must be of type boolean."),
        ("model", {**CONVNET, "head_seed": -1}, "'k.head_seed' is -1; it must be at least 0."),
        ("analysis", {"name": "run_metrics", "further": "x"}, "is 'x'; it must be of type list."),
        ("analysis", {"name": "run_metrics", "further": [1]}, "'k.further[0]' is 1; it must be of"),
        ("fork", {"name": "at_epoch", "epoch": -1}, "'k.epoch' is -1; it must be at least 0."),
    ],
)
def test_one_sentence_for_a_wrong_block(kind: str, value: dict[str, Any], told: str) -> None:
    with pytest.raises(PerigeeError) as caught:
        validated_block(kind, value, "file.yaml", "k")
    sentence = str(caught.value)
    assert sentence.startswith("file.yaml: ")
    assert told in sentence
    assert "\n" not in sentence
    assert sentence.endswith((".", ")."))


PARENT = {"run": RUN, "epochs": 3, "at": {"name": "at_epoch", "epoch": 1}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"optimiser": "sgd"}, "key 'runs.base.optimiser' is 'sgd'; it must be of type mapping."),
        ({"optimiser": {}}, "key 'name' in 'runs.base.optimiser' is missing; add it."),
        ({"norm_control": {}}, "unknown key 'norm_control' in 'runs.base'; known are augm"),
        ({"constraint": {"name": "fixed"}}, "constraint; did you mean 'fixed_norm'?"),
        ({"batch_size": 1.5}, "key 'runs.base.batch_size' is 1.5; it must be of type integer."),
        ({"seed": 2**32}, "key 'runs.base.seed' is 4294967296; it must be at most 4294967295."),
        ({"seed": True}, "key 'runs.base.seed' is True; it must be of type integer."),
        ({"precision": "float16"}, "'runs.base.precision' is 'float16'; did you mean 'bfloat16'"),
        ({"parent": 3}, "key 'runs.base.parent' is 3; it must be of type mapping."),
        ({"parent": {**PARENT, "epochs": 0}}, "'runs.base.parent.epochs' is 0; it must be at l"),
        ({"parent": {"run": RUN}}, "key 'epochs' in 'runs.base.parent' is missing; add it."),
        (
            {"parent": {**PARENT, "at": {"name": "at_epok"}}},
            "'runs.base.parent.at.name' is 'at_epok', which is not a rule for a fork; did you",
        ),
        (
            {"parent": {**PARENT, "at": {"name": "at_epoch", "epoch": 4}}},
            "key 'runs.base.parent.at.epoch' is 4, but of the parent only 3 epochs are trained; "
            "raise 'runs.base.parent.epochs' or fork earlier.",
        ),
        (
            {"parent": {**PARENT, "run": {**RUN, "optimiser": {"name": "sgdd"}}}},
            "'runs.base.parent.run.optimiser.name' is 'sgdd', which is not an optimiser",
        ),
        (
            {"task": {"name": "streamed_classification"}},
            "runs.base: Key 'task.name' is 'streamed_classification', which does not work on "
            "data set 'digits', whose images are kept as arrays; choose classification.",
        ),
    ],
)
def test_one_sentence_for_a_wrong_run(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(PerigeeError) as caught:
        resolved_run({**RUN, **changes}, "runs.base", "file.yaml")
    sentence = str(caught.value)
    assert sentence.startswith("file.yaml: ")
    assert told in sentence, sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("lacking", ["dataset", "model", "optimiser", "batch_size", "seed"])
@pytest.mark.parametrize("parent", [None, PARENT])
def test_a_run_that_a_program_is_told_without_a_key(
    lacking: str, parent: dict[str, Any] | None
) -> None:
    run = {key: value for key, value in RUN.items() if key != lacking}
    with pytest.raises(PerigeeError, match=f"^--spec: key '{lacking}' is missing; add it"):
        resolved_run({**run, "parent": parent}, "", "--spec")


def test_a_fork_at_the_end_of_its_parent_is_no_mistake() -> None:
    parent = {**PARENT, "at": {"name": "at_epoch", "epoch": 3}}
    assert resolved_run({**RUN, "parent": parent}, "run", "f").parent is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1e-3", 0.001), ("2e0", 2), ("true", True), ("wide", "wide"), ("nan", "nan"), ("", "")],
)
def test_rows_of_a_claim_are_told_by_what_their_text_spells(text: str, expected: Any) -> None:
    rows = {"name": "column", "column": "x"}
    found = validated_block("quantity", {**rows, "where": {"a": text}}, "f", "q")
    value = found.parameters["where"]["a"]
    assert value == expected
    assert type(value) is type(expected)
