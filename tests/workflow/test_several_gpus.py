"""Snakemake on a workstation with several GPUs: pretend ones, and everything else for real."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import torch

from perigee import gpus
from support.workspace import Workspace

RATES = (0.1, 0.3, 1)


def test_local_jobs_keep_to_the_gpu_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three runs start at once, and each finds two jobs on one GPU, one on the other."""
    workspace = Workspace.clone(tmp_path / "workspace")
    workspace.edit_paper(lambda paper: None)  # smoke scale's values become the paper's
    workspace.set_learning_rates(*RATES)
    full, free = (f"GPU-{uuid4()}" for _ in range(2))
    workspace.hook("train", "pretend_gpus", uuids=[full, free])
    workspace.hook("train", "note_environment", file="environment-{pid}")
    monkeypatch.setattr(gpus, "visible_gpus", lambda: (full, free))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    with ExitStack() as others:
        for device in ("cuda:0", "cuda:0", "cuda:1"):
            others.enter_context(gpus.own_gpu(device, 2))
        made = workspace.run(
            *("snakemake", "periodic_fig3", "--until", "train_run", "--cores", "3"),
            *("--config", "scale=smoke", "runs_per_gpu=2"),
            OMP_NUM_THREADS="3",
        )
    assert made.returncode == 0, made.stdout
    logs = list(workspace.root.glob("results/logs/train_run/*/*.log"))
    environments = list(workspace.root.glob("environment-*"))
    assert len(logs) == len(environments) == len(RATES)
    for log in logs:
        assert re.findall(r"computing on (.+)", log.read_text()) == [f"cuda:1 ({free})"]
    for environment in environments:
        # Libraries that PyTorch knows nothing of, NumPy's for one, go by the environment.
        threads = re.findall(r"^(\w+)_NUM_THREADS=(.+)$", environment.read_text(), re.M)
        assert {"OMP", "MKL", "OPENBLAS"} <= dict(threads).keys()
        assert {number for _, number in threads} == {"1"}
