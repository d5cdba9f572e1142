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

ROOT = Path(__file__).parents[2]
DIGEST = re.compile(r"-[0-9a-f]{16}")

LEARNING_RATES = (0.03, 0.1, 0.3, 3)
EPOCHS = 4
"""Of periodic_fig3 at smoke scale, as config/studies/periodic.yaml has them."""

HOLD = "hold"
"""While a workspace holds such a file, training waits after `HELD_AFTER` epochs.

So what is to happen in mid-training does, on a machine of any speed."""

HELD_AFTER = 10

COMPARED = tuple(
    f"{setting}-seed{seed}"
    for setting in ("convnet-digits-lr0.15-wd0.01", "resnet18-digits-lr0.3-wd0.03")
    for seed in (0, 1)
)
"""Runs of periodic_fig6 at smoke scale, each with the checkpoint of every epoch."""


@dataclass(frozen=True)
class Workspace:
    """A folder that holds what a fresh clone holds, perhaps with results."""

    root: Path

    @classmethod
    def clone(cls, root: Path) -> Workspace:
        """All files of the project that git tracks or would track."""
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in names.stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith("tests/"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, root / name)
        return cls(root)

    def copy(self, root: Path) -> Workspace:
        """Everything, time stamps included."""
        shutil.copytree(self.root, root, symlinks=True)
        return Workspace(root)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command in the workspace, with this Python's programs first on PATH."""
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
        """What a dry run says it would do: "<rule> <product>", digests left out."""
        result = self.snakemake(*(targets or ("all_figures",)), scale=scale, options=("-n",))
        assert result.returncode == 0, result.stdout
        found = re.findall(r"^Job \d+: (.+)$", result.stdout, flags=re.MULTILINE)
        if not found:
            assert "Nothing to be done" in result.stdout, result.stdout
        return {DIGEST.sub("", job) for job in found}

    def make(self, *targets: str, scale: str = "smoke") -> str:
        """Really run Snakemake; its output."""
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

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands in a file exactly once."""
        path = self.root / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    def lose_metadata(self) -> None:
        """As after a clone: Snakemake knows nothing of earlier runs."""
        shutil.rmtree(self.root / ".snakemake", ignore_errors=True)


def make_holdable(workspace: Workspace) -> None:
    """Have training look for `HOLD`; a state is saved where it waits."""
    after = "            self._trajectory.after_epoch(record)\n"
    workspace.replace(
        "workflow/perigee/jobs/watching.py",
        after,
        f"{after}"
        f"        if record.epochs == {HELD_AFTER} and Path('{HOLD}').exists():\n"
        "            self._save(record)\n"
        f"            while Path('{HOLD}').exists() and not self._stop:\n"
        "                time.sleep(0.05)\n",
    )


def now() -> str:
    """As the starts of sessions are written."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def sessions(run: Path) -> list[str]:
    """When each process that trained a finished run began."""
    provenance = json.loads((run / "provenance.json").read_text())
    return [session["started"] for session in provenance["details"]["sessions"]]


def sweep_of(study: dict[str, Any], figure: str = "fig3") -> dict[str, Any]:
    """The first sweep of a figure's runs, as it stands in a study file."""
    sweep: dict[str, Any] = study["figures"][figure]["tables"]["runs"]["runs"][0]
    return sweep
