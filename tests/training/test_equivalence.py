"""Code that is proven equal to older code counts as the oldest; only equal bits are a proof."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perigee.equivalence.golden import BASE, SETTINGS, golden_products, golden_runs, kind_with
from perigee.equivalence.proving import check_out, compare, first_difference
from perigee.errors import PerigeeError
from perigee.identity import code, equivalences
from perigee.identity.equivalences import Proof, counting_code, read_proofs, write_proofs
from perigee.identity.products import dataset_identity, run_identity
from perigee.paths import ROOT, WORKFLOW
from perigee.registry import REGISTRY, make
from perigee.spec import RunSpec
from support.package_copies import forget

A, B, C, D = (letter * 16 for letter in "abcd")


def proofs(kind: str = "run", **counts_as: str) -> dict[str, dict[str, Proof]]:
    """Proofs by the letters of the digests, such as b="a"."""
    return {
        kind: {new * 16: Proof(counts_as=old * 16, how={"by": 1}) for new, old in counts_as.items()}
    }


def recorded(**proofs: Any) -> str:
    """The content of a file."""
    return json.dumps({"run": proofs})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands in for workflow/equivalences.json, not there yet."""
    path = tmp_path / "equivalences.json"
    monkeypatch.setattr(equivalences, "EQUIVALENCES", path)
    read_proofs.cache_clear()
    yield path
    read_proofs.cache_clear()


def base_run() -> RunSpec:
    return RunSpec.from_dict(golden_runs(BASE)[0])


def test_the_oldest_of_a_chain_counts(file: Path) -> None:
    write_proofs(file, proofs(c="b", b="a") | proofs("dataset", d="a"))
    assert [counting_code("run", code) for code in (A, B, C, D)] == [A, A, A, D]
    assert counting_code("dataset", D) == A


@pytest.mark.parametrize("content", [None, "{}\n"])
def test_without_entries_code_counts_as_itself(file: Path, content: str | None) -> None:
    if content:
        file.write_text(content)
    assert read_proofs(file) == {}
    assert run_identity(base_run(), A).code_at_hand is None


def test_what_is_written_is_read_back(file: Path) -> None:
    written = proofs(b="a", c="b")
    write_proofs(file, written)
    assert read_proofs(file) == written


def test_an_identity_is_taken_with_the_code_that_counts(file: Path) -> None:
    before = run_identity(base_run(), A)
    data = dataset_identity(make("dataset", {"name": "digits"}))
    read_proofs.cache_clear()
    counts = {"run": before.code, "dataset": data.code}
    write_proofs(file, {kind: {code: Proof(counts_as=C, how={})} for kind, code in counts.items()})
    now = run_identity(base_run(), A)
    assert (now.code, now.code_at_hand) == (C, before.code)
    assert now.digest == replace(before, code=C).digest != before.digest
    assert now.modules == before.modules
    assert "perigee.kernel.optimisers.sgd" in now.modules
    assert dataset_identity(make("dataset", {"name": "digits"})).code == C


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "the file is wrong"),
        ("[]", "the file is wrong"),
        ('{"run": [1]}', "run is wrong"),
        (recorded(abc={"counts_as": A, "how": {}}), r"run\.abc\.\[key\] is wrong"),
        (recorded(**{A: {"how": {}}}), rf"run\.{A}\.counts_as is wrong \(Field required\)"),
        (recorded(**{A: {"counts_as": "abc", "how": {}}}), rf"{A}\.counts_as is wrong"),
        (recorded(**{A: {"counts_as": B, "how": {}, "more": 1}}), "more is wrong"),
        (recorded(**{A: {"counts_as": A, "how": {}}}), "closes the circle"),
        (
            recorded(**{A: {"counts_as": B, "how": {}}, B: {"counts_as": A, "how": {}}}),
            "closes the circle",
        ),
    ],
)
def test_a_malformed_file_is_refused_in_one_sentence(file: Path, content: str, told: str) -> None:
    file.write_text(content)
    with pytest.raises(PerigeeError, match=told) as raised:
        counting_code("run", A)
    assert "equivalences.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_committed_can_be_read() -> None:
    assert isinstance(read_proofs(WORKFLOW / "equivalences.json"), dict)


@pytest.mark.parametrize("kind", [*BASE, "fork", "dataset", "measure"])
def test_every_registered_block_has_golden_runs(kind: str) -> None:
    assert set(SETTINGS[kind]) == set(REGISTRY[kind])
    for name, settings in SETTINGS[kind].items():
        for setting in settings:
            make(kind, {"name": name, **setting})


def test_golden_runs_of_a_kind_have_one_code_and_others_another() -> None:
    kinds = [kind_with(kind, name) for kind in (*BASE, "fork") for name in SETTINGS[kind]]
    codes = {}
    for kind in kinds:
        found = {run_identity(RunSpec.from_dict(run), A).code for run in golden_runs(kind)}
        assert len(found) == 1, kind
        codes.update(dict.fromkeys(found, tuple(kind.items())))
    assert set(codes.values()) == {tuple(kind.items()) for kind in kinds}


def test_golden_runs_reach_what_the_papers_use() -> None:
    runs = [RunSpec.from_dict(run) for run in golden_runs(BASE)]
    assert {run.optimiser.parameters["momentum"] for run in runs} == {0, 0.9}
    assert {run.model.scale_invariant for run in runs} == {True, False}
    assert {run.gradient for run in runs} == {"mini_batch", "full_batch"}
    assert {run.precision for run in runs} == {"float32", "float64"}
    assert {run.dataset.name for run in runs} == {"digits", "cifar10"}, "small and large images"
    forks = [RunSpec.from_dict(run) for run in golden_runs(BASE | {"fork": "at_epoch"})]
    assert [fork.parent.run for fork in forks if fork.parent] == runs


def test_planned_runs_add_their_combinations_of_blocks() -> None:
    combined = BASE | {"model": "resnet18", "schedule": "cosine", "fork": "at_epoch"}
    planned = [RunSpec.from_dict(run) for run in golden_runs(combined)]
    added = [product for product in golden_products(planned) if product not in golden_products()]
    assert {product["kind"] for product in added} == {"run"}
    assert {tuple(product["blocks"]) for product in added} == {tuple(combined.values())}
    assert [RunSpec.from_dict(product["run"]) for product in added] == planned


ROWS = {
    "losses": np.array([1.0, -0.0, np.nan]),
    "metrics": np.array([(0, 1.5), (1, 2.5)], [("epoch", "<i4"), ("loss", "<f8")]),
    "epoch": np.array(7),
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, None),
        (
            {"losses": np.array([1.0, 0.0, np.nan])},
            "losses.npy, row 1: -0.0 by the old code, 0.0 by",
        ),
        ({"losses": np.array([1.0, -0.0, 2.0])}, "losses.npy, row 2: nan by the old code, 2.0 by"),
        (
            {"metrics": np.array([(0, 1.5), (1, 3.5)], ROWS["metrics"].dtype)},
            "metrics.npy, row 1: (1, 2.5) by the old code, (1, 3.5) by the new",
        ),
        ({"losses": np.float32([1, 0])}, "float64 (3,) by the old code, float32 (2,) by the new"),
        ({"epoch": np.array(8)}, "epoch.npy, row 0: 7 by the old code, 8 by the new"),
        (
            {"more": np.zeros(1)},
            "losses.npy, metrics.npy by the old code, data.bin, epoch.npy, loss",
        ),
    ],
)
def test_the_first_difference_is_named(
    tmp_path: Path, changed: dict[str, Any], told: str | None
) -> None:
    for folder, rows in (("old", ROWS), ("new", ROWS | changed)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.bin").write_bytes(b"abc")
        for name, array in rows.items():
            np.save(tmp_path / folder / f"{name}.npy", array)
    found = first_difference(tmp_path / "old", tmp_path / "new")
    assert (found and told) is told
    assert told is None or told in str(found)
    (tmp_path / "old" / "data.bin").write_bytes(b"abd")
    found = first_difference(tmp_path / "old", tmp_path / "new")
    assert found is not None
    assert (
        told is None or "more.npy" in found or found.startswith("data.bin, row 2: 100 by the old")
    )


def edit(tree: Path, module: str, *replacements: tuple[str, str]) -> None:
    path = tree / "workflow" / "perigee" / f"{module}.py"
    text = path.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


Found = dict[tuple[str, tuple[str, ...]], tuple[str, str, list[str | None]]]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkouts, the second with several changes.

    In SGD, Nesterov's momentum, off by default; in the trainer and in a measure another name; in
    Adam another number, and in a loss another row.
    """
    root = tmp_path_factory.mktemp("trees")
    for name in ("old", "new"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(WORKFLOW / "perigee", root / name / "workflow" / "perigee", ignore=ignored)
        shutil.copy(WORKFLOW / "equivalences.json", root / name / "workflow")
    new = root / "new"
    edit(
        new,
        "blocks/optimisers",
        ("momentum: BelowOne = 0.0", "momentum: BelowOne = 0.0\n    nesterov: Truth = False"),
    )
    edit(new, "blocks/optimisers", ("Positive, as_tuple", "Positive, Truth, as_tuple"))
    edit(
        new,
        "kernel/optimisers/sgd",
        ("momentum: float,\n", "momentum: float,\n        nesterov: bool,\n"),
        ("self.momentum = momentum\n", "self.momentum, self.nesterov = momentum, nesterov\n"),
        (
            "values.addcmul_(velocity,",
            "values.addcmul_(gradient + velocity if self.nesterov else velocity,",
        ),
    )
    edit(new, "kernel/trainer", ("_part(", "_of_part("))
    edit(new, "measures/metrics", ("derived = (", "further = ("), ("*derived", "*further"))
    edit(
        new,
        "measures/steps",
        ("torch.linalg.vector_norm(before)", "2 * torch.linalg.vector_norm(before)"),
    )
    edit(new, "kernel/optimisers/adam", ("EPSILON = 1e-8", "EPSILON = 1e-7"))
    return root / "old", new


@pytest.fixture(scope="module")
def found(trees: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The result of comparing the two, by kind and blocks: codes, and what differs."""
    kinds = [BASE, BASE | {"optimiser": "adam"}, BASE | {"fork": "before_destabilisation"}]
    metrics, steps = {"name": "metrics"}, {"name": "steps"}
    golden = [
        {"kind": "run", "blocks": list(kind.values()), "run": run, "measure": metrics}
        for kind in kinds
        for run in golden_runs(kind)[:3]
    ]
    run = golden_runs(BASE)[0]
    nesterov = run | {"optimiser": {**run["optimiser"], "momentum": 0.9, "nesterov": True}}
    golden += [
        {"kind": "run", "blocks": list(BASE.values()), "run": nesterov, "measure": metrics},
        {"kind": "measure", "blocks": ["metrics"], "run": run, "measure": metrics},
        {"kind": "measure", "blocks": ["steps"], "run": run, "measure": steps},
        {"kind": "dataset", "blocks": ["digits"], "run": run, "measure": metrics},
    ]
    folder = tmp_path_factory.mktemp("made")
    compared = compare(trees, golden, folder, folder, "cpu")
    return {
        (kind, tuple(products[0][0]["blocks"])): (old, new, [problem for _, problem in products])
        for (kind, old, new), products in compared.items()
    }


def test_what_is_compared(found: Found) -> None:
    runs = [tuple(kind.values()) for kind in (BASE, BASE | {"optimiser": "adam"})]
    forks = (*BASE.values(), "before_destabilisation")
    assert set(found) == {
        *(("run", blocks) for blocks in (*runs, forks)),
        *(("measure", (name,)) for name in ("metrics", "steps")),
    }, "nothing was changed in data sets"
    assert [len(found["run", blocks][2]) for blocks in (*runs, forks)] == [3, 3, 3], (
        "old code cannot train with Nesterov's momentum"
    )


def test_a_harmless_change_is_proven(found: Found) -> None:
    """A default-off parameter implemented, and a private function renamed."""
    assert found["run", tuple(BASE.values())][2] == [None] * 3
    assert found["run", (*BASE.values(), "before_destabilisation")][2] == [None] * 3
    assert found["measure", ("metrics",)][2] == [None]


def test_another_number_is_no_proof(found: Found) -> None:
    adam = found["run", tuple((BASE | {"optimiser": "adam"}).values())][2]
    for problem in adam:
        assert problem is not None
        assert problem.startswith("losses.npy, row "), problem
        assert " by the old code, " in problem
    (steps,) = found["measure", ("steps",)][2]
    assert steps is not None
    assert steps.startswith("steps.npy, row 0: (")


def test_after_the_proof_nothing_counts_as_changed(
    trees: tuple[Path, Path], found: Found, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def codes(tree: Path) -> list[str]:
        monkeypatch.setattr(code, "PACKAGE_FOLDER", tree / "workflow" / "perigee")
        forget()
        kinds = (BASE, BASE | {"fork": "before_destabilisation"}, BASE | {"optimiser": "adam"})
        return [run_identity(RunSpec.from_dict(golden_runs(kind)[0]), A).code for kind in kinds]

    recorded = {k: dict(v) for k, v in read_proofs(WORKFLOW / "equivalences.json").items()}
    write_proofs(file, recorded)  # both trees have those of the project
    read_proofs.cache_clear()
    before = codes(trees[0])
    assert [one == other for one, other in zip(before, codes(trees[1]), strict=True)] == [False] * 3
    for (kind, _), (old, new, problems) in found.items():
        if not any(problems):
            recorded.setdefault(kind, {})[new] = Proof(counts_as=old, how={})
    write_proofs(file, recorded)
    read_proofs.cache_clear()
    now = codes(trees[1])
    assert now[:2] == before[:2]
    assert now[2] != before[2], "Adam's number is another"
    forget()


def test_a_library_that_does_not_work_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "workflow" / "perigee").mkdir(parents=True)
    (broken / "workflow" / "perigee" / "__init__.py").touch()
    with pytest.raises(PerigeeError, match=r"fails in .+broken: .+No module named 'perigee.equiv"):
        compare((broken, broken), [], tmp_path, tmp_path, "cpu")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git repository")
def test_a_revision_is_checked_out(tmp_path: Path) -> None:
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    commit = told.stdout.strip()
    assert check_out("HEAD", tmp_path / "tree") == commit
    assert (tmp_path / "tree" / "workflow" / "perigee" / "__init__.py").is_file()
    with pytest.raises(PerigeeError, match="git rev-parse --verify' fails"):
        check_out("no-such-revision", tmp_path / "other")
