"""A refactoring that is proven to change no number keeps all results; a change of numbers fails.

tests/training/test_equivalence.py goes through what is compared and how.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

from support.workspace import COMPARED, LEARNING_RATES, Workspace, training_jobs

METRICS = "workflow/perigee/measures/metrics.py"
EQUIVALENCES = "workflow/equivalences.json"
TRAINED = training_jobs(*LEARNING_RATES)


def commit(workspace: Workspace) -> str:
    """Everything but what git ignores; the commit."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "Everything.")):
        result = workspace.run("git", *command)
        assert result.returncode == 0, result.stdout
    return workspace.run("git", "rev-parse", "HEAD").stdout.strip()


def proofs_of(workspace: Workspace) -> dict[tuple[str, str], Any]:
    """The recorded proofs by kind and newer code."""
    kinds = json.loads((workspace.root / EQUIVALENCES).read_text())
    return {(kind, code): proof for kind, proofs in kinds.items() for code, proof in proofs.items()}


def rename(workspace: Workspace, name: str, old: str, new: str) -> None:
    path = workspace.root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def warning(workspace: Workspace, hours: float) -> str | None:
    options = ["-n", "all_figures", "--config", "scale=smoke", f"warn_retraining_hours={hours}"]
    result = workspace.run("snakemake", *options)
    assert result.returncode == 0, result.stdout
    found = re.findall(r"^Warning: (.+)$", result.stdout, flags=re.MULTILINE)
    assert len(found) <= 1
    return found[0] if found else None


def test_a_refactoring_that_changes_no_number_reruns_nothing(workspace: Workspace) -> None:
    before, known = commit(workspace), proofs_of(workspace)
    rename(workspace, METRICS, "derived", "further")
    assert workspace.jobs() >= TRAINED
    result = workspace.by_hand("python", "-m", "perigee", "equivalence", "record")
    assert result.returncode == 0, result.stdout
    recorded = proofs_of(workspace)
    assert known.items() <= recorded.items()
    added = [key for key in recorded if key not in known]
    assert {kind for kind, _ in added} == {"measure"}
    # Others are derived from it, whose code is another too.
    ((_, new),) = [key for key in added if recorded[key]["how"]["blocks"] == "metrics"]
    proof = recorded["measure", new]
    assert proof["how"]["commit"] == before
    assert workspace.jobs() == set()

    # A measure taken now has the old code's path, and tells which code it was made by.
    (measure,) = workspace.root.glob("results/store/run/*-lr0.1-*/e*/metrics-*")
    run = measure.parent.parent
    made_before = json.loads((measure / "provenance.json").read_text())
    rows = (measure / "rows.npy").read_bytes()
    assert made_before["code"] == proof["counts_as"]
    assert made_before["code_at_hand"] != new
    # Inputs of complete products are not looked at.
    removed = ("table/periodic_fig3-runs-*", "figure/periodic_fig3-*", "claims/periodic_fig3-*")
    found = [
        path for pattern in removed for path in (workspace.root / "results/store").glob(pattern)
    ]
    assert len(found) >= 2
    for folder in (measure, *found):
        shutil.rmtree(folder)
    workspace.make()
    (again,) = run.glob(f"e*/{measure.name}")
    made_now = json.loads((again / "provenance.json").read_text())
    assert (made_now["digest"], made_now["code"]) == (made_before["digest"], proof["counts_as"])
    assert made_now["code_at_hand"] == new
    assert (again / "rows.npy").read_bytes() == rows


def test_a_change_of_numbers_is_refused(workspace: Workspace) -> None:
    commit(workspace)
    workspace.replace(METRICS, "numbers = (loss,", "numbers = (2 * loss,")
    known = proofs_of(workspace)
    result = workspace.by_hand("python", "-m", "perigee", "equivalence", "record")
    assert result.returncode == 1
    for measure in ("metrics", "recomputed_metrics"):
        assert re.search(
            rf"^measure {measure}: nothing is recorded\. .*: {measure}\.npy, row 0: "
            r"(\(.+\)) by the old code, (?!\1)\(.+\) by the new$",
            result.stdout,
            re.MULTILINE,
        ), result.stdout
    recorded = proofs_of(workspace)
    assert known.items() <= recorded.items()
    # It imports the other two, and its own numbers are the same.
    added = [proof["how"]["blocks"] for key, proof in recorded.items() if key not in known]
    assert added == ["recomputed_test_hits"]
    assert workspace.jobs() >= TRAINED


def test_a_warning_comes_before_runs_are_trained_again(workspace: Workspace) -> None:
    assert warning(workspace, hours=0) is None
    rename(workspace, "workflow/perigee/kernel/trainer.py", "_part(", "_of_part(")
    told = warning(workspace, hours=0)
    assert told is not None
    assert told.startswith(
        f"Since code was changed, {len(LEARNING_RATES) + len(COMPARED)} runs that the store"
    )
    assert "Changed: perigee.kernel.trainer." in told
    assert "perigee equivalence record" in told
    assert warning(workspace, hours=10) is None
