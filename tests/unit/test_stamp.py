"""perigee.stamp: differences from the paper in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perigee.stamp import deviations

values = st.sampled_from([1, 2, 0.5, "digits", "cifar10", None, True])
documents = st.dictionaries(st.sampled_from(["a.width", "b.name", "epochs", "c.d.rate"]), values)


@pytest.mark.parametrize(
    ("key", "here", "there", "expected"),
    [
        ("model.width", 8, 32, "width 8 (paper: 32)"),
        ("epochs", 300, 1000, "epochs 300 (paper: 1000)"),
        ("dataset.name", "digits", "cifar10", "dataset digits (paper: cifar10)"),
        ("runs.dataset.name", "digits", "cifar10", "dataset digits (paper: cifar10)"),
        ("optimiser.learning_rate", 0.3, 0.01, "learning rate 0.3 (paper: 0.01)"),
        ("optimiser.weight_decay", 1e-4, 1.0, "weight decay 0.0001 (paper: 1)"),
        ("seed", [0], [0, 1, 2], "seed 0 (paper: 0, 1, 2)"),
        ("rates", [0.03, 3.0], [0.001, 1.0], "rates 0.03, 3 (paper: 0.001, 1)"),
        ("norm_control.norm", None, 3.5, "norm None (paper: 3.5)"),
    ],
)
def test_a_deviation_in_words(key: str, here: Any, there: Any, expected: str) -> None:
    assert deviations({key: here}, {key: there}) == [expected]


def test_a_setting_of_one_side_only_counts() -> None:
    assert deviations({"horizon": 5}, {}) == ["horizon 5"]
    assert deviations({}, {"horizon": 5}) == ["horizon None (paper: 5)"]


def test_the_order_is_that_of_the_settings_then_of_what_only_the_paper_has() -> None:
    found = deviations({"b": 1, "a": 1, "same": 3}, {"only": 1, "a": 2, "b": 2, "same": 3})
    assert [words.split()[0] for words in found] == ["b", "a", "only"]


def test_the_same_words_are_said_once() -> None:
    # Two kinds of run of one figure, both with a narrower network.
    here, there = {"first.model.width": 8, "second.model.width": 8}, {}
    paper = {"first.model.width": 32, "second.model.width": 32}
    assert deviations(here, paper) == ["width 8 (paper: 32)"]
    paper["second.model.width"] = 64
    assert deviations(here, paper) == ["width 8 (paper: 32)", "width 8 (paper: 64)"]
    assert len(deviations(here, there)) == 1


@settings(max_examples=50)
@given(document=documents)
def test_the_paper_does_not_deviate_from_itself(document: dict[str, Any]) -> None:
    assert deviations(document, dict(document)) == []


@settings(max_examples=50)
@given(here=documents, there=documents)
def test_every_difference_is_told_and_nothing_else(
    here: dict[str, Any], there: dict[str, Any]
) -> None:
    different = {key for key in here | there if here.get(key) != there.get(key)}
    # The labels of these keys differ, so no two differences share their words.
    labels = {"a.width": "width", "b.name": "b", "epochs": "epochs", "c.d.rate": "rate"}
    told = [words.split()[0] for words in deviations(here, there)]
    assert sorted(told) == sorted(labels[key] for key in different)


def test_values_of_another_block_are_not_missed_here() -> None:
    here = {"dataset.name": "digits", "dataset.label_noise": 0.6}
    there = {"dataset.name": "image_folder", "dataset.folder": "imagenet"}
    assert deviations(here, there) == ["dataset digits (paper: image_folder)", "label noise 0.6"]
