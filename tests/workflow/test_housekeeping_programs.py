"""Listing, verifying and cleaning the store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workspace import Workspace

CLEAN = ("python", "workflow/scripts/clean_store.py", "--remove")


@pytest.fixture
def littered(workspace: Workspace) -> Workspace:
    """Where nothing refers to one run's table, figure and claims any more."""
    workspace.edit_study(lambda study: study["figures"].pop("appF1"))
    return workspace


def stored_files(workspace: Workspace) -> set[Path]:
    return set((workspace.root / "results/store").rglob("*"))


def test_without_a_terminal_nothing_is_removed_unless_agreed_beforehand(
    littered: Workspace,
) -> None:
    before = stored_files(littered)
    refused = littered.by_hand(*CLEAN)
    assert refused.returncode == 1
    assert "periodic_appF1-" in refused.stdout, "listed all the same"
    assert refused.stdout.splitlines()[-1].startswith("clean_store.py: --remove asks")
    assert stored_files(littered) == before
    agreed = littered.by_hand(*CLEAN, "--yes")
    assert agreed.returncode == 0
    assert "3 folders" in agreed.stdout
    gone = before - stored_files(littered)
    assert len(gone) > 3
    assert all("periodic_appF1-" in str(path) for path in gone)


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("", 1), ("y", 0)])
def test_in_a_terminal_what_is_listed_is_removed_when_agreed(
    littered: Workspace, answer: str, status: int
) -> None:
    before = stored_files(littered)
    keyboard, terminal = os.openpty()
    os.write(keyboard, f"{answer}\n".encode())
    result = subprocess.run(
        [sys.executable, *CLEAN[1:]],
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
    listed, asked, _ = result.stdout.partition("Remove these 3 folders")
    assert asked
    assert listed.count("periodic_appF1-") == 3
    assert (stored_files(littered) == before) == (status == 1)


def test_the_listing_tells_who_needs_what(littered: Workspace) -> None:
    def listed(*options: str) -> dict[str, list[str]]:
        shown = littered.by_hand("python", "workflow/scripts/list_store.py", *options)
        assert shown.returncode == 0, shown.stdout
        rows = [line.split(maxsplit=4) for line in shown.stdout.splitlines()[1:]]
        return {row[1]: row for row in rows if "-" in row[1]}

    everything = listed()
    runs = {name: row for name, row in everything.items() if row[0] == "run"}
    assert {name.partition("/")[2] for name in runs} == {
        "e4",
        "spare/e4",
        "e4-every1",
        "spare/e4-every1",
    }
    assert len(runs) == 2 * (4 + 4)
    assert {row[4].strip() for row in runs.values()} == {
        "periodic_fig3",
        "periodic_fig3, periodic_fig4",
        "periodic_fig3, study_label_smoothing",
        "periodic_fig6",
    }
    unused = listed("--unused")
    assert len(unused) == 3
    assert all(name.startswith("periodic_appF1-") for name in unused)
    of_fig4 = listed("--figure", "periodic_fig4")
    kinds = [row[0] for row in of_fig4.values()]
    assert sorted(kinds) == ["claims", "dataset", "figure", "run", "run", "table"]
    of_fig6 = [row[0] for row in listed("--figure", "periodic_fig6").values()]
    assert of_fig6.count("predictions") == 4
    wrong = littered.by_hand("python", "workflow/scripts/list_store.py", "--figure", "fig4")
    assert wrong.returncode == 1
    assert "'fig4' is no figure; known are periodic_fig2, " in wrong.stdout


def test_a_changed_product_is_told_by_name(littered: Workspace) -> None:
    verify = ("python", "workflow/scripts/verify_store.py")
    found = (littered.root / "results/store").rglob("provenance.json")
    count = len([path for path in found if "spare" not in path.parts])
    sound = littered.by_hand(*verify)
    assert sound.returncode == 0, sound.stdout
    assert sound.stdout.startswith(f"{count} products, ")
    assert sound.stdout.rstrip().endswith("all as they were made.")
    (state,) = littered.root.glob("results/store/run/*-lr0.3-*/e4/state.safetensors")
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(content)
    damaged = littered.by_hand(*verify)
    assert damaged.returncode == 1
    first, last = damaged.stdout.splitlines()
    assert first.startswith(f"run/{state.parent.parent.name}/e4: ")
    assert "state.safetensors has a wrong checksum" in first
    assert last == f"verify_store.py: 1 of {count} products are not as they were made."
