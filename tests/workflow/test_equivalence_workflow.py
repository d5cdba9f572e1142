"""A refactoring that is proven to change no number keeps all results; a change of numbers fails."""

from __future__ import annotations

import json
import re
import shutil

from support.workspace import COMPARED, EPOCHS, LEARNING_RATES, Workspace

METRICS = "workflow/perigee/training/metrics.py"
UPDATE_RULE = "workflow/perigee/kernel/optimisers/sgd.py"
EQUIVALENCES = "workflow/equivalences.json"
TRAINED = {f"train_run convnet-digits-lr{rate:g}-wd0.01-seed0/e{EPOCHS}" for rate in LEARNING_RATES}


def commit(workspace: Workspace) -> str:
    """Everything but what git ignores; the commit."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "Everything.")):
        result = workspace.run("git", *command)
        assert result.returncode == 0, result.stdout
    return workspace.run("git", "rev-parse", "HEAD").stdout.strip()


def rename_a_private_function(workspace: Workspace) -> None:
    path = workspace.root / METRICS
    text = path.read_text()
    assert "def _errors(" in text
    path.write_text(text.replace("_errors(", "_wrong_answers("))


def warning(workspace: Workspace, hours: float) -> str | None:
    options = ["-n", "all_figures", "--config", "scale=smoke", f"warn_retraining_hours={hours}"]
    result = workspace.run("snakemake", *options)
    assert result.returncode == 0, result.stdout
    found = re.findall(r"^Warning: (.+)$", result.stdout, flags=re.MULTILINE)
    assert len(found) <= 1
    return found[0] if found else None


def test_a_refactoring_that_changes_no_number_reruns_nothing(workspace: Workspace) -> None:
    before = commit(workspace)
    rename_a_private_function(workspace)
    assert workspace.jobs() >= TRAINED
    result = workspace.by_hand("python", "workflow/scripts/record_equivalence.py")
    assert result.returncode == 0, result.stdout
    entries = json.loads((workspace.root / EQUIVALENCES).read_text())
    assert {entry["kind"] for entry in entries} == {"run"}
    assert {entry["commit"] for entry in entries} == {before}
    assert {entry["components"]["schedule"] for entry in entries} >= {"constant", "cosine", "steps"}
    assert workspace.jobs() == set()
    # A run made now has the old code's path, and tells which code it was made by.
    digest = entries[0]["old"]
    (folder,) = workspace.root.glob("results/store/run/convnet-digits-lr0.1-*")
    made_before = json.loads((folder / f"e{EPOCHS}/provenance.json").read_text())
    assert made_before["code"] == digest
    assert made_before["code_at_hand"] is None
    shutil.rmtree(folder)
    asked = f"results/store/run/{folder.name}/e{EPOCHS}/metrics.parquet"
    workspace.make(asked)
    made_now = json.loads((folder / f"e{EPOCHS}/provenance.json").read_text())
    assert (made_now["digest"], made_now["code"]) == (made_before["digest"], digest)
    assert made_now["code_at_hand"] == entries[0]["new"]
    assert made_now["files"] == made_before["files"]
    assert made_now["git"] == {"commit": before, "dirty": True}


def test_a_change_of_numbers_is_refused(workspace: Workspace) -> None:
    commit(workspace)
    workspace.replace(UPDATE_RULE, "1 - learning_rate * self", "1 - 2 * learning_rate * self")
    kept = (workspace.root / EQUIVALENCES).read_bytes()
    result = workspace.by_hand("python", "workflow/scripts/record_equivalence.py")
    assert result.returncode == 1
    assert re.search(
        r"Nothing is recorded.+golden run 'digits enlarged .+momentum=0, .+metrics\.parquet, "
        r"column train_loss, row 1: (\S+) by the old code, (?!\1)\S+ by the new\.$",
        result.stdout.strip(),
    ), result.stdout
    assert (workspace.root / EQUIVALENCES).read_bytes() == kept
    assert workspace.jobs() >= TRAINED


def test_a_warning_comes_before_runs_are_trained_again(workspace: Workspace) -> None:
    assert warning(workspace, hours=0) is None
    rename_a_private_function(workspace)
    told = warning(workspace, hours=0)
    assert told is not None
    assert told.startswith(
        f"Since code was changed, {len(LEARNING_RATES) + len(COMPARED)} runs that the store"
    )
    assert "Changed: perigee.training.metrics." in told
    assert "python workflow/scripts/record_equivalence.py" in told
    assert warning(workspace, hours=10) is None
