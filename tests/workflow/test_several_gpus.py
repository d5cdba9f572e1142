"""Snakemake on a workstation with several GPUs: pretend ones, and everything else for real."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from support.workspace import LEARNING_RATES, Workspace

from perigee import gpus

WRAPPER = Path(__file__).parents[1] / "faults/on_pretend_gpus.py"
PYTHON = '"python '


def test_local_jobs_keep_to_the_gpu_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four runs start at once, and each finds two jobs on one GPU, one on the other."""
    workspace = Workspace.clone(tmp_path / "workspace")
    full, free = (f"GPU-{uuid4()}" for _ in range(2))
    program = "workflow/scripts/train.py"
    in_between = f'"env > {{log}}.env; {sys.executable} {WRAPPER} {full},{free} '
    workspace.replace("workflow/rules/train.smk", f"{PYTHON}{program}", f"{in_between}{program}")
    planned = workspace.snakemake("periodic_fig3", options=("-n",)).stdout
    versions = re.findall(r"^Job \d+: train_run (.+)$", planned, flags=re.MULTILINE)
    assert len(versions) == len(LEARNING_RATES)
    runs = [f"results/store/run/{version}/metrics.parquet" for version in versions]
    monkeypatch.setattr(gpus, "visible_gpus", lambda: (full, free))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    with ExitStack() as others:
        for device in ("cuda:0", "cuda:0", "cuda:1"):
            others.enter_context(gpus.own_gpu(device, 2))
        made = workspace.run(
            *("snakemake", *runs, "--cores", "4"),
            *("--config", "scale=smoke", "runs_per_gpu=2"),
            OMP_NUM_THREADS="3",
        )
    assert made.returncode == 0, made.stdout
    for version in versions:
        log = workspace.root / f"results/logs/train_run/{version}.log"
        assert re.findall(r"computing on (.+)", log.read_text()) == [f"cuda:1 ({free})"]
        # Libraries that PyTorch knows nothing of, NumPy's for one, go by the environment.
        threads = re.findall(r"^(\w+)_NUM_THREADS=(.+)$", Path(f"{log}.env").read_text(), re.M)
        assert {"OMP", "MKL", "OPENBLAS"} <= dict(threads).keys()
        assert {number for _, number in threads} == {"1"}
