"""The judged seeds: how many is a setting, and more of them only add runs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from perigee.configuration.seeds import judged_seeds, with_seeds
from perigee.configuration.settings import layered
from perigee.errors import PerigeeError
from perigee.planning.plan import Plan, make_plan
from support.configuration import SCALES, plan_of, read_from, write
from support.planning import OWN, Project, make, name_of


def edited(folder: Path) -> Project:
    """The small project with judged seeds in figure 3 and in its own study."""
    project = Project(folder)
    project.sweep("fig3")["sweep"]["seed"] = "judged"
    own = copy.deepcopy(dict(OWN))
    own["sweep"]["seed"] = "judged"
    project.documents["mine"] = own
    return project


def plan(project: Project, scale: str, seeds: int) -> Plan:
    write(project.folder, project.documents)
    with read_from(project.folder):
        return make_plan(project.papers, scale, seeds)


def seeds_of(planned: Plan, key: str) -> set[int]:
    return {run.spec.seed for run in planned.figures[key].runs}


@pytest.mark.parametrize("key", ["periodic_fig3", "study_mine"])
def test_seeds_are_counted_from_ten(key: str, tmp_path: Path) -> None:
    project = edited(tmp_path)
    for scale in ("laptop", "paper"):
        assert seeds_of(plan(project, scale, 3), key) == {10, 11, 12}
        assert seeds_of(plan(project, scale, 1), key) == {10}
    # Smoke scale has one at most, however many are asked for.
    assert seeds_of(plan(project, "smoke", 8), key) == {10}


def test_more_seeds_only_add_runs(tmp_path: Path) -> None:
    project = edited(tmp_path)
    few, many = (plan(project, "laptop", seeds) for seeds in (3, 8))
    assert set(few.runs) < set(many.runs)
    assert set(few.datasets) == set(many.datasets)
    added = {run.spec.seed for folder, run in many.runs.items() if folder not in few.runs}
    assert added == {13, 14, 15, 16, 17}


def test_what_a_store_has_of_three_seeds_is_not_made_again_for_eight(tmp_path: Path) -> None:
    project = edited(tmp_path)
    few, many = (plan(project, "laptop", seeds) for seeds in (3, 8))
    for product in few.figures["periodic_fig3"].products.values():
        make(product, project.store)
    figure = many.figures["periodic_fig3"]
    missing = [one for one in figure.products.values() if not one.is_complete(project.store)]
    kinds = [one.kind for one in missing]
    assert kinds.count("run") == 2 * 5
    others = sorted(name_of(one) for one in missing if one.kind != "run")
    assert others == ["claims periodic_fig3", "figure periodic_fig3", "table periodic_fig3-runs"]
    again = plan(project, "laptop", 3).figures["periodic_fig3"]
    assert all(one.is_complete(project.store) for one in again.products.values())


def test_the_number_of_seeds_is_not_a_deviation_from_the_paper(tmp_path: Path) -> None:
    project = edited(tmp_path)
    for seeds in (3, 8):
        deviations = plan(project, "smoke", seeds).figures["periodic_fig3"].stamp["deviations"]
        assert not [one for one in deviations if "seed" in one]


def test_a_list_of_seeds_is_taken_as_it_is(tmp_path: Path) -> None:
    project = edited(tmp_path)
    project.sweep("fig3")["sweep"]["seed"] = [4, 5]
    assert seeds_of(plan(project, "laptop", 8), "periodic_fig3") == {4, 5}


def test_documents_are_not_changed() -> None:
    document = {"runs": {"one": {"sweep": {"seed": "judged"}}}, "sweep": {"seed": "judged"}}
    before = copy.deepcopy(document)
    found = with_seeds(document, judged_seeds(2))
    assert found["runs"]["one"]["sweep"] == found["sweep"] == {"seed": [10, 11]}
    assert document == before


def told(folder: Path, documents: dict[str, Any], scale: str = "laptop") -> str:
    with pytest.raises(PerigeeError) as caught:
        plan_of(folder, documents, scale)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("place", ["paper", "fig3"])
def test_seeds_that_were_looked_at_are_not_judged(place: str, tmp_path: Path) -> None:
    documents = edited(tmp_path).documents
    holder = documents["periodic"] if place == "paper" else documents["periodic"]["figures"]["fig3"]
    holder["explored_seeds"] = [100, 12]
    sentence = told(tmp_path, documents)
    assert sentence == (
        "config/papers/periodic/fig3.yaml: key 'runs.rates.sweep.seed' has seed 12, which is among "
        f"'explored_seeds' in config/papers/periodic/{place}.yaml; judge on seeds that were not "
        "looked at: judged."
    )


def test_a_study_may_have_explored_seeds_too(tmp_path: Path) -> None:
    documents = edited(tmp_path).documents
    documents["mine"]["explored_seeds"] = [11]
    start = "config/studies/mine.yaml: key 'sweep.seed' has seed 11, which is among"
    assert told(tmp_path, documents).startswith(start)
    documents["mine"]["explored_seeds"] = [100]
    plan_of(tmp_path, documents, "laptop")


def test_another_word_for_seeds_is_refused(tmp_path: Path) -> None:
    documents = edited(tmp_path).documents
    documents["mine"]["sweep"]["seed"] = "juged"
    sentence = told(tmp_path, documents)
    for part in ("config/studies/mine.yaml", "'sweep.seed' is 'juged'", "the word 'judged'"):
        assert part in sentence
    documents["mine"]["sweep"] = {"seed": [1], "batch_size": "judged"}
    assert "'sweep.batch_size' is 'judged'" in told(tmp_path, documents)


SETTINGS = {
    "scale": "laptop",
    "papers": ["periodic"],
    "results": "results",
    "data": "data",
    "download": True,
    "device": "cpu",
    "progress_interval": 1,
    "save_interval": 1,
}


def test_three_seeds_are_judged_unless_the_settings_say_otherwise() -> None:
    assert layered([("", SETTINGS)])["seeds"] == 3
    assert layered([("", SETTINGS), ("--config", {"seeds": "8"})])["seeds"] == 8


@pytest.mark.parametrize(
    ("value", "remedy"), [(0, "at least 1"), (91, "at most 90"), ("many", "of type integer")]
)
def test_impossible_numbers_of_seeds_are_refused(value: Any, remedy: str) -> None:
    with pytest.raises(PerigeeError, match=rf"config/config.yaml: key 'seeds' is .*{remedy}"):
        layered([("config/config.yaml", SETTINGS | {"seeds": value})])


@pytest.mark.parametrize("scale", SCALES)
def test_no_figure_of_a_paper_judges_a_seed_that_was_looked_at(scale: str) -> None:
    planned = make_plan(["periodic", "regimes", "smd"], scale).of_papers
    seeds = {run.spec.seed for run in planned.runs.values()}
    assert seeds == ({10, 11} if scale == "smoke" else {10, 11, 12})
