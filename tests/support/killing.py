"""Real training jobs that are killed and started again until their run is finished."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perigee.configuration.runs import resolved_run
from perigee.identity.products import run_identity
from perigee.store.provenance import checksum

ROOT = Path(__file__).parents[2]
PERIGEE = (sys.executable, "-m", "perigee")
EPOCHS = 24
STEPS = 12 * EPOCHS
"""The steps of an epoch: 1,437 digits are 12 mini-batches."""

SPEC: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "convnet", "scale_invariant": False, "width": 2},
    "optimiser": {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0.9},
    "batch_size": 128,
    "seed": 0,
}
MEASURES: list[dict[str, Any]] = [
    {"name": "metrics"},
    {"name": "steps"},
    {"name": "layers"},
    {"name": "full_gradient_norm"},
    {"name": "checkpoints", "interval": 7},
]
VOLATILE = ("started", "wall_time_s")
VOLATILE_DETAILS = ("seconds", "sessions")
"""The parts of provenance about times; everything else must be equal."""


def build_digits(folder: Path) -> Path:
    """Build the data set of `SPEC`."""
    spec = json.dumps(SPEC["dataset"])
    subprocess.run([*PERIGEE, "build-dataset", "--spec", spec, "--out", folder], check=True)
    return folder


@dataclass(frozen=True)
class Jobs:
    """A training job that can be started again and again.

    Attributes:
        dataset: folder of the built data set.
        out: folder for the run's files.
        spec: the run's spec.
        epochs: how many epochs the run has.
    """

    dataset: Path
    out: Path
    spec: dict[str, Any] = field(default_factory=lambda: SPEC)
    epochs: int = EPOCHS

    @classmethod
    def in_store(cls, dataset: Path, store: Path, epochs: int = EPOCHS) -> Jobs:
        """The jobs of a run whose folder is named as in a store."""
        digest = json.loads((dataset / "provenance.json").read_text())["digest"]
        identity = run_identity(resolved_run(SPEC, "run", ""), digest)
        return cls(dataset, store / identity.folder / f"e{epochs}", epochs=epochs)

    @property
    def state(self) -> Path:
        in_store = self.out.name == f"e{self.epochs}"
        run = self.out.parent if in_store else self.out
        return run / "unfinished" / self.out.name / "latest.safetensors"

    def start(self, save_interval: float = 0.05) -> subprocess.Popen[str]:
        told = {
            "run": self.spec,
            "epochs": self.epochs,
            "measures": MEASURES,
            "dataset": str(self.dataset),
        }
        command = [
            *(*PERIGEE, "train", "--spec", json.dumps(told), "--out", str(self.out)),
            *("--save-interval", str(save_interval), "--progress-interval", "0.1"),
            *("--device", "cpu"),
        ]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> str:
        """Run the job to its end, and return what it printed."""
        job = self.start()
        printed, _ = job.communicate(timeout=120)
        assert job.returncode == 0, printed
        return printed

    def kill(self, number: signal.Signals, dice: random.Random) -> tuple[int, str]:
        """Start the job, kill it at a random moment of training, and return status and output.

        The moment is some saves after the start, so that steps were taken, and a little later, so
        that it falls anywhere between two saves or into one. Counting saves and not seconds, it is
        midway through training on a slow machine too; if the job has already ended on a fast one,
        it is started again and killed after half as many saves.
        """
        saves = dice.randint(2, 7)
        kept = self._copy_aside()
        while True:
            job = self.start()
            wait_for_saves(self.state, job, saves)
            time.sleep(dice.uniform(0, 0.06))
            job.send_signal(number)
            printed, _ = job.communicate(timeout=120)
            ended = (self.out / "provenance.json").exists()
            ended = ended or f"epoch {self.epochs}/{self.epochs}" in printed
            if not ended or saves == 1:
                break
            saves //= 2
            self._put_back(kept)
        shutil.rmtree(kept)
        return job.returncode, printed

    @property
    def _run(self) -> Path:
        """The folder of all versions of the run."""
        return self.state.parents[2]

    def _copy_aside(self) -> Path:
        aside = self._run.with_name(f"{self._run.name}-aside")
        self._run.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copytree(self._run, aside))

    def _put_back(self, aside: Path) -> None:
        shutil.rmtree(self._run)
        shutil.copytree(aside, self._run)

    def files(self) -> dict[str, Any]:
        """The checksums of the files of run and measures, and provenance without times."""
        found: dict[str, Any] = {}
        for path in sorted(self.out.rglob("*")):
            name = str(path.relative_to(self.out))
            if path.name == "provenance.json":
                provenance = json.loads(path.read_text())
                for key in VOLATILE:
                    del provenance[key]
                for key in VOLATILE_DETAILS:
                    del provenance["details"][key]
                found[name] = provenance
            elif path.is_file() and not name.startswith("."):
                found[name] = checksum(path)
        return found


def resumed_after(printed: str) -> int:
    """The number of steps that the job reports as done before; 0 if it began from the start."""
    found = re.search(r"continuing after epoch (\d+)(?: and (\d+) steps)? of", printed)
    return 12 * int(found[1]) + int(found[2] or 0) if found else 0


def trial(jobs: Jobs, seed: int, kills: int, number: signal.Signals = signal.SIGKILL) -> int:
    """Kill a run some times, finish it, and return how often a job resumed from a state.

    It asserts that every kill hit training midway and that every start skipped the steps done.
    """
    dice = random.Random(seed)
    shutil.rmtree(jobs.out, ignore_errors=True)
    done, resumed = 0, 0
    for _ in range(kills):
        status, printed = jobs.kill(number, dice)
        assert status == (-number if number == signal.SIGKILL else 128 + number), printed
        assert not (jobs.out / "provenance.json").exists(), "killed too late"
        found = resumed_after(printed)
        assert found >= done, "steps were taken again"
        assert f"epoch {EPOCHS}/{EPOCHS}" not in printed
        resumed += found > 0
        done = max(done, found)
    printed = jobs.finish()
    assert 0 < resumed_after(printed) < STEPS
    assert resumed_after(printed) >= done
    return resumed + 1


def wait_for_saves(state: Path, job: subprocess.Popen[str], saves: int) -> None:
    """Wait until a job has saved its state a number of times more, or has ended."""
    for _ in range(saves):
        before = _stamp(state)
        while _stamp(state) == before and job.poll() is None:
            time.sleep(0.001)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
