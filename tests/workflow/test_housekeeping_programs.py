"""Listing, verifying and cleaning the store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.workspace import COMPARED, EPOCHS, LEARNING_RATES, Workspace, show_rates

CLEAN = ("python", "-m", "perigee", "store", "clean")
UNUSED = 4 + 3
"""Four tables, figure, claims, and the measure that these tables alone read."""


def show_metrics_alone(study: dict[str, Any]) -> None:
    """Figure 3 has one table, so that it reads the steps of none of its runs."""
    figure = study["figures"]["fig3"]
    figure["tables"] = {"runs": figure["tables"]["runs"]}
    figure["claims"] = {}


@pytest.fixture(scope="module")
def clean(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Where everything in the store is needed."""
    workspace = finished.copy(tmp_path_factory.mktemp("clean") / "workspace")
    workspace.edit_paper(show_metrics_alone)
    workspace.make("everything")
    removed = workspace.by_hand(*CLEAN, "--remove", "--yes")
    assert removed.returncode == 0, removed.stdout
    return workspace


@pytest.fixture
def littered(clean: Workspace, tmp_path: Path) -> Workspace:
    """Where nothing refers to figure 4 any more, whose run another figure shows."""
    workspace = clean.copy(tmp_path / "workspace")
    workspace.edit_paper(lambda study: study["figures"].pop("fig4"))
    return workspace


def stored_files(workspace: Workspace) -> set[Path]:
    return set((workspace.root / "results/store").rglob("*"))


def is_unused(path: Path | str) -> bool:
    return "periodic_fig4-" in str(path) or "/steps-" in str(path)


def test_without_a_terminal_nothing_is_removed_unless_agreed_beforehand(
    littered: Workspace,
) -> None:
    before = stored_files(littered)
    refused = littered.by_hand(*CLEAN, "--remove")
    assert refused.returncode == 1
    assert "periodic_fig4-" in refused.stdout, "listed all the same"
    assert refused.stdout.splitlines()[-1].startswith("perigee store clean: --remove asks")
    assert stored_files(littered) == before
    agreed = littered.by_hand(*CLEAN, "--remove", "--yes")
    assert agreed.returncode == 0
    assert f"{UNUSED} folders" in agreed.stdout
    gone = before - stored_files(littered)
    assert len(gone) > UNUSED
    assert all(is_unused(path) for path in gone)
    assert "0 folders" in littered.by_hand(*CLEAN).stdout
    assert littered.jobs("periodic_fig3", "periodic_fig6") == set()


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("", 1), ("y", 0)])
def test_in_a_terminal_what_is_listed_is_removed_when_agreed(
    littered: Workspace, answer: str, status: int
) -> None:
    before = stored_files(littered)
    keyboard, terminal = os.openpty()
    os.write(keyboard, f"{answer}\n".encode())
    result = subprocess.run(
        [sys.executable, *CLEAN[1:], "--remove"],
        cwd=littered.root,
        env={**os.environ, "PYTHONPATH": str(littered.root / "workflow")},
        stdin=terminal,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(keyboard)
    os.close(terminal)
    assert result.returncode == status
    listed, asked, _ = result.stdout.partition(f"Remove these {UNUSED} folders")
    assert asked
    assert sum(is_unused(line) for line in listed.splitlines()) == UNUSED
    assert (stored_files(littered) == before) == (status == 1)


def test_runs_that_nothing_refers_to_go_with_their_measures(workspace: Workspace) -> None:
    for study in (workspace.root / "config/studies").glob("*.yaml"):
        study.unlink()  # they share runs with fig3

    def edit(study: dict[str, Any]) -> None:
        study["figures"].pop("fig6")
        show_rates(study, 0.1)

    workspace.edit_paper(edit)
    runs = workspace.root / "results/store/run"
    assert len(list(runs.iterdir())) == len(LEARNING_RATES) + len(COMPARED)
    removed = workspace.by_hand(*CLEAN, "--remove", "--yes")
    assert removed.returncode == 0, removed.stdout
    assert [path.name.split("-")[2] for path in runs.iterdir()] == ["lr0.1"]
    assert not list((workspace.root / "results/store/evaluation").glob("*-*"))
    assert "0 folders" in workspace.by_hand(*CLEAN).stdout


def test_the_listing_tells_who_needs_what(littered: Workspace) -> None:
    def listed(*options: str) -> dict[str, list[str]]:
        shown = littered.by_hand("python", "-m", "perigee", "store", "list", *options)
        assert shown.returncode == 0, shown.stdout
        rows = [line.split(maxsplit=4) for line in shown.stdout.splitlines()[1:]]
        return {row[1]: row for row in rows if "-" in row[1]}

    runs = {name: row for name, row in listed().items() if row[0] == "run"}
    versions = {name: row[4].strip() for name, row in runs.items() if name.endswith(f"/e{EPOCHS}")}
    assert len(versions) == len(LEARNING_RATES) + len(COMPARED)
    assert set(versions.values()) == {
        "periodic_fig3",
        "periodic_fig3, study_precision",
        "periodic_fig3, study_label_smoothing, study_precision",
        "periodic_fig6",
    }
    assert len(runs) == 2 * len(versions) + 1 + len(COMPARED), "and the measures below"
    unused = listed("--unused")
    assert len(unused) == UNUSED
    assert all(map(is_unused, unused))
    of_fig6 = [row[0] for row in listed("--figure", "periodic_fig6").values()]
    assert sorted(of_fig6) == sorted(
        ["claims", "dataset", "figure"] + 6 * ["table"] + 2 * ["evaluation"] + 6 * ["run"]
    )
    wrong = littered.by_hand("python", "-m", "perigee", "store", "list", "--figure", "fig4")
    assert wrong.returncode == 1
    assert "'fig4' is not a figure; known are periodic_fig2, " in wrong.stdout


def test_a_changed_product_is_told_by_name(workspace: Workspace) -> None:
    verify = ("python", "-m", "perigee", "store", "verify")
    count = len(list((workspace.root / "results/store").rglob("provenance.json")))
    sound = workspace.by_hand(*verify)
    assert sound.returncode == 0, sound.stdout
    assert sound.stdout.startswith(f"{count} products, ")
    assert sound.stdout.rstrip().endswith("all as they were made.")
    run = workspace.store(f"run/*-lr0.3-*/e{EPOCHS}")
    measure = next(run.glob("metrics-*"))
    for path in (run / "state.safetensors", measure / "rows.npy"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    damaged = workspace.by_hand(*verify)
    assert damaged.returncode == 1
    first, second, last = damaged.stdout.splitlines()
    assert first.startswith(f"run/{run.parent.name}/e{EPOCHS}: ")
    assert "state.safetensors has a wrong checksum" in first
    assert second.startswith(f"run/{run.parent.name}/e{EPOCHS}/{measure.name}: ")
    assert last == f"perigee store verify: 2 of {count} products are not as they were made."
