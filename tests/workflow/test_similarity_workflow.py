"""Checkpoints, predictions and their tables through the whole workflow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from workspace import COMPARED, EPOCHS, Workspace


def test_checkpoints_are_compared_with_their_anchor(finished: Workspace) -> None:
    table = pd.read_csv(finished.root / "results/smoke/figures/periodic_fig6.csv")
    assert {pair: set(rows["seed"]) for pair, rows in table.groupby("pair")} == {
        "convnet": {0, 1},
        "resnet": {0, 1},
    }
    for _, rows in table.groupby(["pair", "run"]):
        anchor = rows.iloc[0]
        assert list(rows["epoch"]) == list(range(int(anchor["anchor_epoch"]), EPOCHS + 1))
        # With itself it is an ensemble of one.
        assert anchor["cosine_similarity"] == pytest.approx(1, abs=1e-12)
        assert anchor["ensemble_test_error"] == pytest.approx(anchor["anchor_test_error"])
        assert (rows["cosine_similarity"].iloc[1:] < 1).all()
        assert (abs(rows["independent_cosine_similarity"]) < 0.5).all()


def test_predictions_err_as_often_as_training_measured(finished: Workspace) -> None:
    store = finished.root / "results/store"
    for name in COMPARED:
        (predictions,) = store.glob(f"predictions/{name}-*")
        (run,) = store.glob(f"run/{name}-*/e{EPOCHS}-every1")
        probabilities = np.load(predictions / "predictions.npy")
        labels = np.load(predictions / "labels.npy")
        assert probabilities.sum(axis=2) == pytest.approx(1, abs=1e-5)
        errors = (probabilities.argmax(axis=2) != labels).mean(axis=1)
        measured = pd.read_parquet(run / "metrics.parquet")["test_error"]
        assert errors == pytest.approx(measured.to_numpy(), abs=1e-9)


def test_a_second_table_uses_the_predictions_that_are_there(workspace: Workspace) -> None:
    def add_table(study: dict[str, Any]) -> None:
        tables = study["figures"]["fig6"]["tables"]
        (sweep,) = tables["convnet"]["runs"]
        tables["again"] = {
            "analysis": {"name": "similarity"},
            "runs": [{**sweep, "sweep": {"seed": [1, 0]}}],
        }

    workspace.edit_study(add_table)
    assert workspace.jobs() == {
        "make_table periodic_fig6-again",
        "draw_figure periodic_fig6",
        "publish_figure periodic_fig6",
    }


def test_more_epochs_go_on_from_the_version_with_checkpoints(workspace: Workspace) -> None:
    """Although a version without them, which nothing can go on from, was read off it."""
    runs = workspace.root / "results/store/run"
    for folder in runs.glob(f"*/e{EPOCHS}-every1"):
        read_off = workspace.by_hand(
            *("python", "workflow/scripts/read_off_run.py", "--longer", str(folder)),
            *("--epochs", str(EPOCHS), "--out", str(folder.with_name(f"e{EPOCHS}"))),
        )
        assert read_off.returncode == 0, read_off.stdout

    def lengthen(study: dict[str, Any]) -> None:
        for table in study["figures"]["fig6"]["tables"].values():
            table["runs"][0]["epochs"] = EPOCHS + 1

    workspace.edit_study(lengthen)
    printed = workspace.make("periodic_fig6")
    assert printed.count(f"continuing after epoch {EPOCHS} of") == len(COMPARED)
    for shorter in runs.glob(f"*/e{EPOCHS}-every1"):
        longer = shorter.with_name(f"e{EPOCHS + 1}-every1")
        rows, more = (np.load(folder / "trajectory.npy") for folder in (shorter, longer))
        assert np.array_equal(rows, more[: EPOCHS + 1])


@pytest.mark.parametrize(
    ("epochs", "every", "kept"), [(EPOCHS, 2, [0, 2, 4]), (EPOCHS - 1, 2, [0, 2, 3])]
)
def test_fewer_checkpoints_are_read_off_the_version_that_has_more(
    epochs: int, every: int, kept: list[int], workspace: Workspace
) -> None:
    def fewer(study: dict[str, Any]) -> None:
        for table in study["figures"]["fig6"]["tables"].values():
            table["runs"][0] |= {"epochs": epochs, "keep_every": every}

    workspace.edit_study(fewer)
    name = f"e{epochs}-every{every}"
    runs = {job for job in workspace.jobs() if "_run " in job and "predict" not in job}
    assert runs == {f"read_off_run {run}/{name}" for run in COMPARED}
    workspace.make("periodic_fig6")
    store = workspace.root / "results/store"
    for run in COMPARED:
        (shorter,) = store.glob(f"run/{run}-*/{name}")
        longer = shorter.with_name(f"e{EPOCHS}-every1")
        rows, all_rows = (np.load(folder / "trajectory.npy") for folder in (shorter, longer))
        assert np.array_equal(rows, all_rows[kept])
        described = json.loads((shorter / "trajectory.json").read_text())
        assert described["epochs"] == kept
        details = json.loads((shorter / "provenance.json").read_text())["details"]
        assert (details["epochs"], details["keep_every"]) == (epochs, every)
        metrics, all_metrics = (
            pd.read_parquet(folder / "metrics.parquet") for folder in (shorter, longer)
        )
        pd.testing.assert_frame_equal(metrics, all_metrics[: epochs + 1])
    assert workspace.jobs() == set()


@pytest.mark.parametrize(("epochs", "every"), [(EPOCHS, 2), (EPOCHS - 1, 1)])
def test_predictions_of_another_version_of_a_run_are_refused(
    epochs: int, every: int, workspace: Workspace
) -> None:
    store = workspace.root / "results/store"
    (longer,) = store.glob(f"run/{COMPARED[0]}-*/e{EPOCHS}-every1")
    (predictions,) = store.glob(f"predictions/{COMPARED[0]}-*")
    other = longer.with_name(f"e{epochs}-every{every}")
    read_off = workspace.by_hand(
        *("python", "workflow/scripts/read_off_run.py", "--longer", str(longer)),
        *("--epochs", str(epochs), "--keep-every", str(every), "--out", str(other)),
    )
    assert read_off.returncode == 0, read_off.stdout
    run = {"folder": str(other), "predictions": str(predictions), "swept": {"seed": 0}}
    spec = {"name": "t", "analysis": {"name": "similarity"}, "runs": [run]}
    made = workspace.by_hand(
        *("python", "workflow/scripts/make_table.py", "--spec", json.dumps(spec)),
        *("--out", str(workspace.root / "table")),
    )
    assert made.returncode != 0
    assert f"{predictions} holds no predictions of {other}; give those." in made.stdout
    assert "Traceback" not in made.stdout


@pytest.mark.parametrize(
    ("file", "removed", "program"),
    [
        (f"predictions/{COMPARED[0]}-*/predictions.npy", "table", "make_table.py"),
        (f"run/{COMPARED[0]}-*/e4-every1/trajectory.npy", "table", "make_table.py"),
        (f"run/{COMPARED[0]}-*/e4-every1/trajectory.npy", "predictions", "predict.py"),
    ],
)
def test_what_was_changed_by_hand_is_refused_by_name(
    file: str, removed: str, program: str, workspace: Workspace
) -> None:
    store = workspace.root / "results/store"
    (path,) = store.glob(file)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    replace(path, bytes(content))
    of_table = "periodic_fig6-convnet-*" if removed == "table" else f"{COMPARED[0]}-*"
    (gone,) = store.glob(f"{removed}/{of_table}")
    shutil.rmtree(gone)
    missing = f"results/store/{removed}/{gone.name}/provenance.json"
    result = workspace.snakemake(missing)
    assert result.returncode != 0
    (told,) = {line for line in result.stdout.splitlines() if line.startswith(f"{program}: ")}
    assert f"{path.name} has a wrong checksum" in told
    assert "Traceback" not in result.stdout


def replace(path: Path, content: bytes) -> None:
    """Another file under the name: the spare of a run stays as it is."""
    path.unlink()
    path.write_bytes(content)
