"""Documents against schemas; the sentences themselves are tested with Snakemake around them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from perigee.configuration.reading import read_yaml
from perigee.configuration.scales import at_scale
from perigee.configuration.studies import read_study, resolved_run
from perigee.configuration.validation import validated, validated_block
from perigee.errors import PerigeeError

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
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    assert validated({"title": "1e3"}, schema, "f") == {"title": "1e3"}


def test_a_value_per_scale() -> None:
    document = {"a": {"smoke": 1, "laptop": [{"smoke": 2, "laptop": 3, "paper": 4}], "paper": 5}}
    assert [at_scale(document, scale, "f")["a"] for scale in ("smoke", "laptop", "paper")] == [
        1,
        [3],
        5,
    ]


def test_a_value_per_scale_with_another_key() -> None:
    document = {"a": {"smoke": 1, "laptop": 2, "paper": 3, "huge": 4}}
    with pytest.raises(PerigeeError, match="'huge' beside the scales"):
        at_scale(document, "smoke", "f")


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


STUDY = """
study: mine
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
    tables:
      runs:
        analysis: {name: run_metrics}
        runs:
          - base: base
            epochs: 3
            sweep: {seed: [0, 1, "1", 1.0], optimiser.learning_rate: [1, 2]}
          - {base: base, epochs: 2, set: {optimiser.weight_decay: 0.5}}
"""


def test_sweeps_expand_to_distinct_runs_in_an_order_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY)
    (figure,) = read_study(path, "smoke")
    runs = figure.tables[0].runs
    assert [tuple(run.swept.items()) for run in runs] == [
        *(
            (("optimiser.learning_rate", rate), ("seed", seed))
            for rate in (1, 2)
            for seed in (0, 1)
        ),
        (),
    ]
    assert [run.epochs for run in runs] == [3, 3, 3, 3, 2]
    assert runs[-1].spec.optimiser.parameters["weight_decay"] == 0.5
    path.write_text(
        STUDY.replace(
            'seed: [0, 1, "1", 1.0], optimiser.learning_rate: [1, 2]',
            "optimiser.learning_rate: [1, 2], seed: [0, 1]",
        )
    )
    assert read_study(path, "smoke")[0].tables == figure.tables


def test_a_study_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "yours.yaml"
    path.write_text(STUDY)
    with pytest.raises(PerigeeError, match="'study' is 'mine', but the file is named 'yours'"):
        read_study(path, "smoke")
