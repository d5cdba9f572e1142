"""Checkpoints, their evaluations, and the tables of these through the whole workflow."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.workspace import COMPARED, EPOCHS, Workspace, figure_jobs

TABLE = ("python", "-m", "perigee", "make-table")
EVALUATE = ("python", "-m", "perigee", "evaluate", "--device", "cpu")


def spec_of_table(workspace: Workspace) -> dict[str, Any]:
    """The spec that the program for the table of fig6's pairs was given."""
    (path,) = workspace.root.glob("results/specs/table/periodic_fig6-convnet-*.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def test_checkpoints_are_compared_with_their_anchor(finished: Workspace) -> None:
    table = pd.read_csv(finished.root / "results/smoke/figures/periodic_fig6.csv")
    assert {pair: set(rows["seed"]) for pair, rows in table.groupby("pair")} == {
        "ConvNet": {10, 11},
        "ResNet": {10, 11},
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
    for name in COMPARED:
        predictions = finished.store(f"evaluation/predictions-{name}-*")
        metrics = np.load(finished.store(f"run/{name}-*/e{EPOCHS}/metrics-*/rows.npy"))
        probabilities = np.load(predictions / "predictions.npy")
        labels = np.load(predictions / "labels.npy")
        assert probabilities.sum(axis=2) == pytest.approx(1, abs=1e-5)
        errors = (probabilities.argmax(axis=2) != labels).mean(axis=1)
        assert errors == pytest.approx(metrics["test_error"], abs=1e-9)


def test_fewer_checkpoints_and_epochs_are_read_off_the_run_that_has_more(
    workspace: Workspace,
) -> None:
    """The last one is kept whatever the interval is."""

    def fewer(study: dict[str, Any]) -> None:
        for runs in study["figures"]["fig6"]["runs"].values():
            runs |= {"epochs": EPOCHS - 1, "checkpoint_interval": 2}

    workspace.edit_paper(fewer)
    evaluated = {f"evaluate_run predictions-{run}" for run in COMPARED}
    assert workspace.jobs() == evaluated | figure_jobs("fig6")
    workspace.make("periodic_fig6")
    assert workspace.jobs() == set()
    for run in COMPARED:
        found = workspace.root.glob(f"results/store/evaluation/predictions-{run}-*")
        described = {
            tuple(json.loads((path / "predictions.json").read_text())["epochs"]): path
            for path in found
        }
        every, some = (
            np.load(described[epochs] / "predictions.npy")
            for epochs in ((0, 1, 2, 3, 4), (0, 2, 3))
        )
        assert np.array_equal(some, every[[0, 2, 3]])


def swap(told: dict[str, Any]) -> None:
    first, second = (run["evaluations"] for run in told["runs"])
    first["predictions"], second["predictions"] = second["predictions"], first["predictions"]


def shorten(told: dict[str, Any]) -> None:
    for run in told["runs"]:
        run["epochs"] = EPOCHS - 1


def thin_out(told: dict[str, Any]) -> None:
    for run in told["runs"]:
        (kept,) = (one for one in run["measures"] if one["name"] == "checkpoints")
        kept["interval"] = 2


@pytest.mark.parametrize("change", [swap, shorten, thin_out])
def test_evaluations_of_others_are_refused(
    change: Any, finished: Workspace, tmp_path: Path
) -> None:
    """The others are of another run, of another length, or of more checkpoints than are read."""
    told = spec_of_table(finished)
    change(told)
    made = finished.by_hand(*TABLE, "--spec", json.dumps(told), "--out", str(tmp_path / "table"))
    assert made.returncode == 1
    first, *_ = (run["evaluations"]["predictions"] for run in told["runs"])
    assert f"{first} is not the evaluation" in made.stdout
    assert "Traceback" not in made.stdout


def test_an_evaluation_of_another_trajectory_is_refused(workspace: Workspace) -> None:
    path = workspace.store(f"evaluation/predictions-{COMPARED[0]}-*/provenance.json")
    provenance = json.loads(path.read_text())
    (run,) = workspace.root.glob(f"results/store/run/{COMPARED[0]}-*/e{EPOCHS}")
    rows = np.load(run / "weights.npy")
    assert provenance["details"]["weights"] == rows["sha256"][EPOCHS].decode()
    provenance["details"]["weights"] = rows["sha256"][EPOCHS - 1].decode()
    path.write_text(json.dumps(provenance))
    spec = json.dumps(spec_of_table(workspace))
    made = workspace.by_hand(*TABLE, "--spec", spec, "--out", str(workspace.root / "table"))
    assert made.returncode == 1
    assert "was computed of another trajectory of the run" in made.stdout


@pytest.mark.parametrize(
    ("file", "program"),
    [
        (f"evaluation/predictions-{COMPARED[0]}-*/predictions.npy", "make-table"),
        (f"run/{COMPARED[0]}-*/e4/checkpoints-*/rows.npy", "make-table"),
        (f"run/{COMPARED[0]}-*/e4/checkpoints-*/rows.npy", "evaluate"),
    ],
)
def test_what_was_changed_by_hand_is_refused_by_name(
    file: str, program: str, workspace: Workspace
) -> None:
    path = workspace.store(file)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (evaluation,) = workspace.root.glob(f"results/specs/evaluation/*{COMPARED[0]}-*.json")
    if program == "make-table":
        command = (*TABLE, "--spec", json.dumps(spec_of_table(workspace)))
    else:
        command = (*EVALUATE, "--spec", str(evaluation))
    result = workspace.by_hand(*command, "--out", str(workspace.root / "out"))
    assert result.returncode == 1
    (told,) = (
        line for line in result.stdout.splitlines() if line.startswith(f"perigee {program}: ")
    )
    assert f"{path.name} has a wrong checksum" in told
    assert "Traceback" not in result.stdout


TOLD_TO_STOP = """
import os, signal
from perigee.__main__ import main
from perigee.commands import evaluate
prepare = evaluate.prepare
def told(*given, **others):
    os.kill(os.getpid(), signal.SIGTERM)
    return prepare(*given, **others)
evaluate.prepare = told
main()
"""
"""The program, to which a signal comes as it begins to compute."""


def test_predictions_that_are_told_to_stop_end_after_a_checkpoint(
    finished: Workspace, tmp_path: Path
) -> None:
    (evaluation,) = finished.root.glob(f"results/specs/evaluation/*{COMPARED[0]}-*.json")
    out = tmp_path / "out"
    options = ("--device", "cpu", "--spec", str(evaluation), "--out", str(out))
    result = finished.by_hand("python", "-c", TOLD_TO_STOP, "evaluate", *options)
    assert result.returncode == 128 + signal.SIGTERM, result.stdout
    assert "SIGTERM received: stopping after this checkpoint" in result.stdout
    (last,) = result.stdout.splitlines()[-1:]
    assert f"was stopped by SIGTERM after checkpoint 1 of {EPOCHS + 1}; start it again" in last
    assert not list(out.iterdir())
