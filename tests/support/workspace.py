"""A copy of the project in which a test runs Snakemake for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
DIGEST = re.compile(r"-[0-9a-f]{16}")

LEARNING_RATES = (0.03, 0.1, 0.3, 3)
EPOCHS = 4
"""The values of periodic_fig3 at smoke scale, as config/studies/periodic.yaml has them."""

STEPS = 12
"""The steps of an epoch: 1,437 digits are 12 mini-batches."""

FIGURES = ("fig2", "fig3", "fig4", "fig6")
"""The periodic paper's figures in the shared workspace: one computed from a formula, one of runs,
one of single steps of one of these runs, one of checkpoints."""

COMPARED = tuple(f"convnet-digits-lr0.15-wd0.01-seed{seed}" for seed in (0, 1))
"""Runs of periodic_fig6 there, each with the checkpoint of every epoch."""

HOLD = "hold"
"""The file while which exists training waits after `HELD_AFTER` epochs.

Thus a test can act midway through training on a machine of any speed."""

HELD_AFTER = 10


@dataclass(frozen=True)
class Workspace:
    """A folder with the files of a fresh clone, perhaps with results."""

    root: Path

    @classmethod
    def clone(cls, root: Path) -> Workspace:
        """All files of the project that git tracks or would track."""
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in names.stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, root / name)
        return cls(root)

    def copy(self, root: Path) -> Workspace:
        """Everything, time stamps included."""
        shutil.copytree(self.root, root, symlinks=True)
        return Workspace(root)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the workspace, with this Python's programs first on PATH."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, "PATH": path, "COLUMNS": "200", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=550,
            check=False,
        )

    def by_hand(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command run as if this workspace's library were the installed one."""
        return self.run(*command, PYTHONPATH=str(self.root / "workflow"), **environment)

    def snakemake(
        self, *targets: str, scale: str = "smoke", options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """`snakemake <targets> --config scale=<scale>`."""
        return self.run("snakemake", *options, *targets, "--config", f"scale={scale}")

    def jobs(self, *targets: str, scale: str = "smoke") -> set[str]:
        """The jobs that a dry run names: "<rule> <product>", without digests."""
        result = self.snakemake(*(targets or ("all_figures",)), scale=scale, options=("-n",))
        assert result.returncode == 0, result.stdout
        found = re.findall(r"^Job \d+: (.+)$", result.stdout, flags=re.MULTILINE)
        if not found:
            assert "Nothing to be done" in result.stdout, result.stdout
        return {DIGEST.sub("", job) for job in found}

    def make(self, *targets: str, scale: str = "smoke") -> str:
        """Run Snakemake for real, and return its output."""
        result = self.snakemake(*(targets or ("all_figures",)), scale=scale)
        assert result.returncode == 0, result.stdout
        return result.stdout

    def edit_yaml(self, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
        """Change a YAML file's document in place."""
        path = self.root / name
        document = yaml.safe_load(path.read_text())
        edit(document)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def edit_study(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Change config/studies/periodic.yaml."""
        self.edit_yaml("config/studies/periodic.yaml", edit)

    def set_learning_rates(self, *rates: float, figure: str = "fig3") -> None:
        """Make a figure of the periodic paper show these rates at smoke scale."""

        def edit(study: dict[str, Any]) -> None:
            sweep_of(study, figure)["sweep"]["optimiser.learning_rate"]["smoke"] = list(rates)

        self.edit_study(edit)

    def set_epochs(self, epochs: int, figure: str = "fig3") -> None:
        """Give the runs of a figure of the periodic paper a number of epochs at smoke scale."""
        self.edit_study(lambda study: sweep_of(study, figure)["epochs"].update(smoke=epochs))

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a text that occurs in a file exactly once."""
        path = self.root / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    def hook(self, program: str, hook: str, **options: Any) -> None:
        """Make a program of this workspace begin with a function of `support.hooks`."""
        path = self.root / f"workflow/scripts/{program}.py"
        first = (
            f"import sys\nsys.path.append({str(TESTS)!r})\n"
            f"from support import hooks\nhooks.{hook}(**{options!r})\n"
        )
        path.write_text(first + path.read_text())

    def store(self, pattern: str) -> Path:
        """The only folder or file of the store that matches a pattern."""
        (path,) = self.root.glob(f"results/store/{pattern}")
        return path

    def lose_metadata(self) -> None:
        """Make Snakemake forget earlier runs, as after a clone."""
        shutil.rmtree(self.root / ".snakemake", ignore_errors=True)


def make_holdable(workspace: Workspace) -> None:
    """Make training check for `HOLD`; a state is saved where it waits."""
    workspace.hook("train", "hold", file=HOLD, epoch=HELD_AFTER)


def now() -> str:
    """The present time in the format of provenance."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def result_of(run: Path) -> dict[str, bytes]:
    """The files of a finished run and its measures, without their provenance."""
    paths = (path for path in run.rglob("*.*") if path.suffix in (".npy", ".safetensors"))
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def sessions(run: Path) -> list[str]:
    """The time at which each process that trained a finished run began."""
    provenance = json.loads((run / "provenance.json").read_text())
    return [session["started"] for session in provenance["details"]["sessions"]]


def figure_jobs(figure: str, *tables: str) -> set[str]:
    """The jobs that make a figure of the periodic paper of its tables, as in `Workspace.jobs`."""
    key = f"periodic_{figure}"
    drawn = {f"draw_figure {key}", f"publish_figure {key}"}
    return drawn | {f"make_table {key}-{table}" for table in tables}


def training_jobs(*rates: float, epochs: int = EPOCHS) -> set[str]:
    """The jobs that train the ConvNet at some rates, as in `Workspace.jobs`."""
    return {f"train_run convnet-digits-lr{rate:g}-wd0.01-seed0/e{epochs}" for rate in rates}


def sweep_of(study: dict[str, Any], figure: str = "fig3", table: str = "runs") -> dict[str, Any]:
    """The first sweep of the runs of a figure's table, as it stands in a study file."""
    sweep: dict[str, Any] = study["figures"][figure]["tables"][table]["runs"][0]
    return sweep
