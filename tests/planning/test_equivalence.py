"""Code that is proven equal to older code counts as the oldest; only equal bits are a proof."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from perigee.configuration.studies import resolved_run
from perigee.equivalence.comparing import first_difference
from perigee.equivalence.golden import BASE, RUN_BLOCKS, RunKind, golden_runs, run_kinds
from perigee.errors import PerigeeError
from perigee.identity import equivalences
from perigee.identity.equivalences import Equivalence, read_equivalences, write_equivalences
from perigee.identity.products import Identity, dataset_identity, run_identity
from perigee.registry import REGISTRY
from perigee.spec import Component, RunSpec
from perigee.store import provenance
from perigee.store.provenance import PROVENANCE, git_state, read_provenance
from perigee.store.writing import product_writer

A, B, C, D = (letter * 16 for letter in "abcd")


def entry(old: str, new: str, kind: str = "run") -> Equivalence:
    return Equivalence(kind, {"model": "convnet"}, old, new, "0" * 40, "2026-01-01", {}, ("all",))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands in for workflow/equivalences.json, not there yet."""
    path = tmp_path / "equivalences.json"
    monkeypatch.setattr(equivalences, "EQUIVALENCES", path)
    monkeypatch.setattr(equivalences.read_equivalences, "__defaults__", (path,))
    equivalences._oldest.cache_clear()
    yield path
    equivalences._oldest.cache_clear()


def base_run(seed: int = 0) -> RunSpec:
    spec = golden_runs(RunKind(**BASE))[0].spec
    return resolved_run({**spec, "seed": seed}, "run", "test")


@pytest.mark.parametrize("order", [1, -1])
def test_the_oldest_of_a_chain_counts(file: Path, order: int) -> None:
    write_equivalences(file, [entry(A, B), entry(B, C), entry(A, D, "dataset")][::order])
    assert [equivalences.counting_code("run", code) for code in (A, B, C, D)] == [A, A, A, D]
    assert equivalences.counting_code("dataset", D) == A


@pytest.mark.parametrize("content", [None, "[]\n"])
def test_without_entries_code_counts_as_itself(file: Path, content: str | None) -> None:
    if content:
        file.write_text(content)
    assert read_equivalences(file) == []
    assert run_identity(base_run(), A).code_at_hand is None


def test_what_is_written_is_read_back(file: Path) -> None:
    written = [entry(A, B), entry(B, C)]
    write_equivalences(file, written)
    assert read_equivalences(file) == written


def test_an_identity_is_taken_with_the_code_that_counts(file: Path) -> None:
    before, other = run_identity(base_run(), A), run_identity(base_run(), B)
    data = dataset_identity(Component("digits"))
    equivalences._oldest.cache_clear()
    write_equivalences(file, [entry(A, before.code), entry(C, data.code, "dataset")])
    now = run_identity(base_run(), A)
    assert (now.code, now.code_at_hand) == (A, before.code)
    assert now.digest == replace(before, code=A).digest != before.digest
    assert now.modules == other.modules
    assert "perigee.training.optimisers.sgd" in now.modules
    assert dataset_identity(Component("digits")).code == C


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[", "is no readable JSON"),
        ("{}", "'entries' is {}; it must be of type list"),
        ("[1]", r"'entries\[0\]' is 1; it must be of type mapping"),
        ('[{"kind": "run"}]', r"key 'components' in 'entries\[0\]' is missing"),
        ([vars(entry("A", B))], r"'entries\[0\]\.old' is 'A'"),
        ([vars(entry(A, B, "table"))], r"'entries\[0\]\.kind' is 'table'"),
        ([vars(entry(A, B)) | {"more": 1}], "unknown key 'more'"),
        ([vars(entry(A, C)), vars(entry(B, C))], f"stands for both {A} and {B}"),
        ([vars(entry(A, A))], "older than itself"),
        ([vars(entry(A, B)), vars(entry(B, C)), vars(entry(C, A))], "older than itself"),
    ],
)
def test_a_malformed_file_is_refused_in_one_sentence(file: Path, content: Any, told: str) -> None:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(PerigeeError, match=told) as raised:
        equivalences.counting_code("run", A)
    assert "equivalences.json" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", RUN_BLOCKS)
def test_every_registered_block_has_golden_runs(kind: str) -> None:
    for name in REGISTRY[kind]:
        found = RunKind(**BASE | {kind: name})
        assert found in run_kinds([])
        specs = [resolved_run(run.spec, "run", "test") for run in golden_runs(found)]
        codes = {run_identity(spec, A).code for spec in specs}
        assert codes == {run_identity(RunSpec.from_dict(found.any_spec), A).code}


def test_golden_runs_reach_what_the_papers_use() -> None:
    runs = golden_runs(RunKind(**BASE))
    specs = [run.spec for run in runs]
    assert {spec["optimiser"]["momentum"] for spec in specs} == {0, 0.9}
    assert {spec["model"]["scale_invariant"] for spec in specs} == {True, False}
    assert {spec["gradient"] for spec in specs} == {"mini_batch", "full_batch"}
    for key, value in (("momentum", 0), ("momentum", 0.9)):
        chosen = [spec for spec in specs if spec["optimiser"][key] == value]
        assert {spec["precision"] for spec in chosen} == {"float64", "float32"}
    (continued,) = [run for run in runs if len(run.epochs) > 1]
    assert continued.spec["optimiser"]["momentum"] == 0.9


def product(folder: Path, **columns: Any) -> Path:
    with product_writer(folder, Identity("run", "r", {}, "code", {})) as writer:
        pd.DataFrame(columns).to_parquet(writer.aside / "steps.parquet")
        save_file(
            {"w": np.array([[1.0, 2.0], columns.get("loss", [0.0, 0.0])[:2]])},
            writer.aside / "state.safetensors",
        )
    return folder


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, None),
        ({"rate": [0.0, 1.0, np.nan]}, "column rate, row 0: -0.0 by the old code, 0.0 by the new"),
        ({"rate": [-0.0, 1.0, 2.0]}, "column rate, row 2: nan by the old code, 2.0 by the new"),
        (
            {"rate": [-0.0, 1.0, 2.0], "loss": [1.0, np.nextafter(2, 3), 4.0]},
            "state.safetensors, tensor w, row 3: 2.0 by the old code, 2.0000000000000004 by",
        ),
        (
            {"rate": [-0.0, 1.0, 2.0], "loss": [1.0, 2.0, 4.0]},
            "steps.parquet, column loss, row 2: 3.0 by the old code, 4.0 by the new",
        ),
        (
            {"rate": np.float32([-0.0, 1.0, np.nan])},
            "float64 (3,) by the old code, float32 (3,) by the new",
        ),
        ({"more": [1, 2, 3]}, "column loss, column rate by the old code, column loss, column ra"),
    ],
)
def test_the_first_difference_is_named(
    tmp_path: Path, changed: dict[str, Any], told: str | None
) -> None:
    columns = {"loss": [1.0, 2.0, 3.0], "rate": [-0.0, 1.0, np.nan]}
    old, new = product(tmp_path / "a", **columns), product(tmp_path / "b", **columns | changed)
    found = first_difference(old, new)
    assert (found and told) is told
    assert told is None or told in str(found)


def test_a_missing_file_is_a_difference(tmp_path: Path) -> None:
    old, new = (product(tmp_path / name, loss=[1.0, 2.0]) for name in "ab")
    with product_writer(new, Identity("run", "r", {}, "code", {})) as writer:
        (writer.aside / "steps.parquet").write_bytes((old / "steps.parquet").read_bytes())
    told = "files: state.safetensors, steps.parquet by the old code, steps.parquet by the new"
    assert str(first_difference(old, new)) == told


def test_provenance_tells_code_modules_and_commit(tmp_path: Path) -> None:
    identity = Identity("run", "r", {}, A, {}, code_at_hand=B, modules={"perigee.x": C})
    with product_writer(tmp_path, identity):
        pass
    found = read_provenance(tmp_path)
    assert (found.code, found.code_at_hand, found.modules) == (A, B, {"perigee.x": C})
    assert found.git == git_state()


def test_provenance_of_other_versions_is_read(tmp_path: Path) -> None:
    with product_writer(tmp_path, Identity("run", "r", {}, A, {})):
        pass
    path = tmp_path / PROVENANCE
    document = json.loads(path.read_text())
    for key in ("code_at_hand", "modules", "git"):
        del document[key]
    path.write_text(json.dumps(document | {"of a later version": 1}))
    found = read_provenance(tmp_path)
    assert (found.code_at_hand, found.modules, found.git) == (None, {}, None)


def test_a_folder_that_is_no_git_repository_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_state.cache_clear()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert git_state() is None
    git_state.cache_clear()
