"""The peak memory of a training job at laptop scale.

The job is the real command line of rule train_run, on the CPU, 20 epochs long: memory does not
grow with epochs. What is measured is the largest resident set that
the operating system counted for the finished process. For comparison, the same of a process that
only imports torch. This process itself stays small and never imports torch, since a child's count
starts at its parent's size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, Report, Summary, Target, laptop_run, main

from perigee.blocks.measures import Metrics, Steps
from perigee.identity.products import dataset_identity

EPOCHS = 20
MEASURES = (Metrics, Steps)
JOB, IMPORT = "training job: GiB", "import torch alone: GiB"
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024
"""The bytes of the unit in which ru_maxrss is given."""


def peak_memory(command: Sequence[str]) -> float:
    """The largest resident set, in GiB, of a command run in the repository's root.

    Raises:
        subprocess.CalledProcessError: the command fails.
    """
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    assert process.stderr is not None
    messages = process.stderr.read()  # few lines; read to the end of the process
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.stderr.buffer.write(messages)
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_maxrss * BYTES_PER_UNIT / 2**30


def measure(repetitions: int) -> Report:
    spec = laptop_run()
    perigee = [sys.executable, "-m", "perigee"]
    jobs, imports = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = folder / dataset_identity(spec.dataset).folder
        told = {
            "run": spec.to_dict(),
            "epochs": EPOCHS,
            "measures": [one().to_dict() for one in MEASURES],
            "dataset": str(dataset),
        }
        build = [*perigee, "build-dataset", "--out", str(dataset)]
        build += ["--spec", json.dumps(spec.dataset.to_dict())]
        subprocess.run(build, cwd=ROOT, check=True)
        for repetition in range(repetitions):
            # A fresh folder, or the job would find its own earlier result beside it.
            run = folder / str(repetition)
            run.mkdir()
            told_in = run / "told.json"
            told_in.write_text(json.dumps({**told, "folder": str(run)}), encoding="utf-8")
            train = [*perigee, "train", "--spec", str(told_in)]
            train += ["--out", str(run / f"e{EPOCHS}"), "--device", "cpu"]
            jobs.append(peak_memory(train))
            imports.append(peak_memory([sys.executable, "-c", "import torch"]))
    return Report(
        figures={JOB: Summary.of(jobs), IMPORT: Summary.of(imports)},
        target=Target(JOB, "<=", 1.2),
        conditions={"device": "cpu", **{key: told[key] for key in ("run", "epochs", "measures")}},
    )


if __name__ == "__main__":
    main(__doc__ or "", repetitions=3, measure=measure)
