"""benchmarks/gpu_figure.py, on the CPU with a tiny network and generated images."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perigee.store.provenance import git_state
from support.benchmarks import load, machine_with, without_path
from support.fashion_mnist import small_files, write_files
from support.workspace import ROOT

PROGRAM = ROOT / "benchmarks/gpu_figure.py"
RATE = "optimiser.learning_rate"
EPOCHS = 3
PLAN = {"git": {"commit": "the kit's"}, "figure": "periodic_fig3", "scale": "workstation"}


def tiny_run(rate: float, epochs: int) -> dict[str, Any]:
    spec = {
        "dataset": {"name": "fashion_mnist"},
        "model": {"name": "convnet", "width": 2, "scale_invariant": True},
        "optimiser": {"name": "sgd", "learning_rate": rate, "weight_decay": 0.001},
        "batch_size": 8,
        "seed": 10,
    }
    return {"spec": spec, "epochs": epochs, "swept": {RATE: rate, "seed": 10}}


def trained(folder: Path, python: Path, epochs: tuple[int, int], minutes: float) -> dict[str, Any]:
    """The summary of two runs of different rates and lengths."""
    runs = [tiny_run(0.01, epochs[0]), tiny_run(0.1, epochs[1])]
    (folder / "figure.json").write_text(json.dumps(PLAN | {"runs": runs}))
    if not (folder / "images").exists():
        write_files(folder / "images", small_files(30, 10))
    told = ["--runs", "figure.json", "--fashion-mnist", "images", "--out", "out"]
    job = subprocess.run(
        [str(python), str(PROGRAM), *told, "--at-once", "2", "--minutes", str(minutes)],
        cwd=folder,
        env=without_path(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.returncode == 0, job.stdout + job.stderr
    found: dict[str, Any] = json.loads((folder / "out/summary.json").read_text())
    return found


def test_runs_are_trained_and_what_there_is_comes_home(tmp_path: Path) -> None:
    packages = "torch", "numpy", "pandas", "pyarrow", "matplotlib", "pydantic"
    python = machine_with(tmp_path / "machine", *packages)
    found = trained(tmp_path, python, (EPOCHS, EPOCHS), minutes=8)
    assert found["failed"] == []
    assert found["kit"] == PLAN["git"]
    assert found["git"] == git_state()
    assert {name: run["epochs"] for name, run in found["runs"].items()} == {
        "lr0.01-seed10": EPOCHS,
        "lr0.1-seed10": EPOCHS,
    }
    table = pd.read_parquet(tmp_path / "out/metrics.parquet")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out/metrics.csv"), table, check_dtype=False
    )
    for rate in (0.01, 0.1):
        rows = table[table[RATE] == rate]
        assert list(rows["epoch"]) == list(range(EPOCHS + 1))
        assert set(rows["learning_rate"]) == {rate}
    assert (tmp_path / "out/figure.png").stat().st_size > 10_000


def test_a_run_whose_time_is_over_is_saved_and_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_figure = load("gpu_figure", monkeypatch)
    from card import figure_run  # type: ignore[import-not-found]

    write_files(tmp_path / "files", small_files(30, 10))
    images = tmp_path / "images.npz"
    gpu_figure.save(gpu_figure.fashion_mnist_in(tmp_path / "files"), images)
    run = tiny_run(0.1, EPOCHS)
    out = {name: tmp_path / name for name in ("often stopped", "left alone")}

    def train(name: str, deadline: float) -> None:
        given = {"spec": run["spec"], "epochs": EPOCHS, "images": str(images), "device": "cpu"}
        folder = str(out[name] / gpu_figure.name_of(run))
        figure_run.main(json.dumps({**given, "folder": folder, "deadline": deadline}))

    for _ in range(6):  # each of them takes one step; an epoch has four
        train("often stopped", 0)
    early = gpu_figure.table_of([run], out["often stopped"])
    assert list(early["epoch"]) == [0, 1]
    told = gpu_figure.picture_of(early, [run], "a figure").get_suptitle()
    assert f"UNFINISHED: 1 of {EPOCHS} epochs" in told
    train("often stopped", math.inf)
    train("left alone", math.inf)
    ours, theirs = (gpu_figure.table_of([run], folder) for folder in out.values())
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert list(ours["epoch"]) == list(range(EPOCHS + 1))
    assert "UNFINISHED" not in gpu_figure.picture_of(ours, [run], "a figure").get_suptitle()
    losses = [
        np.load(folder / gpu_figure.name_of(run) / "logs/losses.npy") for folder in out.values()
    ]
    np.testing.assert_array_equal(*losses)
