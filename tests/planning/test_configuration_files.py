"""The files that come with Perigee: their size, their schemas, and what editors are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from perigee.configuration.reading import read_yaml
from perigee.configuration.schemas import schemas
from perigee.paths import CARRIED, SCHEMAS
from perigee.planning.plan import read_requests
from perigee.registry import REGISTRY

CONFIG = CARRIED / "config"
FILES = sorted(path for path in CONFIG.rglob("*.yaml") if path.parent.name != "studies")


def lines(*patterns: str) -> int:
    paths = [path for pattern in patterns for path in CONFIG.glob(pattern)]
    assert paths
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


@pytest.mark.parametrize(("paper", "figures"), [("periodic", 7), ("regimes", 7), ("smd", 7)])
def test_a_papers_figures_are_short_to_read(paper: str, figures: int) -> None:
    assert len(list(CONFIG.glob(f"papers/{paper}/fig*.yaml"))) == figures
    assert lines(f"papers/{paper}/*.yaml") <= 300
    assert lines(f"scales/smoke/{paper}/*.yaml", f"scales/laptop/{paper}/*.yaml") <= 200
    assert lines(f"scales/workstation/{paper}/*.yaml") <= 100


def test_the_paper_scale_has_no_overlays() -> None:
    assert not (CONFIG / "scales/paper").exists()


def test_no_file_needs_aliases() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert ": &" not in text, path
        assert ": *" not in text, path


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_schemas_are_up_to_date(name: str) -> None:
    """`python -m perigee.configuration.schemas` writes them."""
    assert (SCHEMAS / name).read_text(encoding="utf-8") == schemas()[name]


def test_there_is_no_other_schema() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == set(schemas())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIG)))
def test_an_editor_finds_the_schema_of_a_file_which_fits_it(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    comment, _, name = first.partition("$schema=")
    assert comment == "# yaml-language-server: "
    schema = json.loads((path.parent / name).resolve().read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    document = read_yaml(path)
    assert jsonschema.exceptions.best_match(validator(schema).iter_errors(document)) is None
    misspelt = document | {"titel": "t"}
    assert not validator(schema).is_valid(misspelt)


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every key that a schema knows, with what it says of it."""
    for item in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(item, dict | list):
            yield from properties(item)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        yield from schema["properties"].items()


@pytest.mark.parametrize("name", sorted(schemas()))
def test_every_key_is_described(name: str) -> None:
    found = list(properties(json.loads(schemas()[name])))
    assert found
    lacking = [key for key, told in found if told.get("description", key) == key]
    assert lacking == []


def test_blocks_are_told_apart_by_their_names() -> None:
    schema = json.loads(schemas()["paper.json"])
    models = {one["properties"]["name"]["const"]: one for one in schema["$defs"]["model"]["anyOf"]}
    assert set(models) == set(REGISTRY["model"])
    assert models["convnet"]["required"] == ["name", "width", "scale_invariant"]
    assert models["convnet"]["properties"]["width"] == {
        "type": "integer",
        "minimum": 1,
        "description": "channels of its first stage.",
    }
    assert not models["convnet"]["additionalProperties"]
    overlay = json.loads(schemas()["paper_overlay.json"])
    assert "required" not in json.dumps(overlay)


# What our choices are


def notes_of(key: str, scale: str) -> dict[tuple[str, bool], str]:
    _, requests = read_requests(["periodic", "regimes", "smd"], scale)
    (request,) = (one for one in requests if one.key == key)
    return {(note.key, note.was_seen): note.told for note in request.notes}


def test_choices_of_ours_come_with_the_figures_that_they_concern() -> None:
    at_paper, at_laptop = (notes_of("periodic_fig6", scale) for scale in ("paper", "laptop"))
    width, data = "runs.si_resnet18.model.width", "runs.si_resnet18.dataset"
    assert (width, False) in at_paper
    assert (width, False) in at_laptop
    assert (data, False) not in at_paper
    assert (data, False) in at_laptop
    assert (data, True) in at_laptop
    assert ("claims.*.expected", False) in at_paper
    assert not [key for key, _ in at_laptop if "standard_resnet18" in key], "another figure's run"


def test_a_forks_choices_are_those_of_its_parent_too() -> None:
    found = notes_of("periodic_fig5", "laptop")
    assert ("runs.si_convnet", False) in found
    assert ("runs.near_destabilisation.parent.at", False) in found
    assert ("runs.far.epochs", False) in found


def test_a_claim_has_notes_of_its_own() -> None:
    found = notes_of("periodic_fig3", "laptop")
    assert ("claims.stuck_at_the_highest_rate.expected", False) in found


def test_a_study_has_them_too() -> None:
    found = notes_of("study_label_smoothing", "laptop")
    assert ("near_zero", True) in found


def test_the_stamp_tells_what_the_overlays_change() -> None:
    _, requests = read_requests(["periodic"], "laptop")
    (fig3, fig4) = (one for one in requests if one.key in ("periodic_fig3", "periodic_fig4"))
    assert set(fig3.deviations) == {
        "epochs 240 (paper: 1000)",
        "dataset digit_pairs (paper: cifar10)",
        "test pairs per class 25",
        "test statistics recomputed (paper: running)",
        "width 16 (paper: 32)",
        "weight decay 0.01 (paper: 0.001)",
        "learning rate 0.01, 0.1, 0.3, 3 (paper: 0.001, 0.01, 0.03, 1)",
    }
    assert "learning rate 0.1 (paper: 0.01)" in fig4.deviations
    _, at_paper = read_requests(["periodic"], "paper")
    assert not [one for one in at_paper if one.deviations]
