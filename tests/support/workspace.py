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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from perigee.configuration.locks import LOCK
from perigee.configuration.overlays import merged
from perigee.configuration.reading import read_yaml
from perigee.errors import PerigeeError
from support.configuration import put

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
DIGEST = re.compile(r"-[0-9a-f]{16}")

LEARNING_RATES = (0.03, 0.1, 0.3, 3)
EPOCHS = 4
"""The epochs of periodic_fig3 at smoke scale, as in config/."""

LOWEST_FIRST = dict(zip(("lowest", "low", "high", "highest"), LEARNING_RATES, strict=True))
NAMES = {rate: name for name, rate in LOWEST_FIRST.items()}
RATES = ("runs", "rates")

STEPS = 12
"""The steps of an epoch: 1,437 digits are 12 mini-batches."""

FIGURES = ("fig2", "fig3", "fig4", "fig6")
"""The periodic paper's figures in the shared workspace: one computed from a formula, one of runs,
one of single steps of one of these runs, one of checkpoints."""

COMPARED = tuple(f"convnet-digits-lr0.15-wd0.01-seed{seed}" for seed in (10, 11))
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

    def edit_paper(self, edit: Callable[[dict[str, Any]], None], scale: str = "smoke") -> None:
        """Change the periodic paper as it stands at a scale.

        Args:
            edit: changes a document with ``runs`` and ``figures``, each with its ``claims``.
            scale: its overlays become part of the paper's files; those of others stay as far as
                they fit.
        """
        config = self.root / "config"
        folder, overlays = config / "papers/periodic", config / f"scales/{scale}/periodic"
        paper: dict[str, Any] = {"figures": {}}
        for path in sorted(folder.glob("*.yaml")):
            document = read_yaml(path)
            if (overlays / path.name).exists():
                changes = read_yaml(overlays / path.name)
                document = merged(document, without_notes(changes), path.name)
            document = without_notes(document)
            if path.stem == "paper":
                paper |= document
                continue
            claims = folder / "claims" / path.name
            if claims.exists():
                document["claims"] = read_yaml(claims)["claims"]
            paper["figures"][path.stem] = document
        locks = (folder / LOCK).read_text()
        edit(paper)
        others = {
            path: read_yaml(path)
            for path in config.glob("scales/*/periodic/*.yaml")
            if path.parents[1].name != scale
        }
        for left in (folder, *config.glob("scales/*/periodic")):
            shutil.rmtree(left)
        for path, overlay in others.items():
            base = paper if path.stem == "paper" else paper["figures"].get(path.stem, {})
            put(path, fitting(overlay, base))
            if not base:
                path.unlink()
        for name, figure in paper.pop("figures").items():
            given = figure.pop("claims", None)
            put(folder / f"{name}.yaml", figure)
            if given is not None:
                put(folder / f"claims/{name}.yaml", {"claims": given})
        put(folder / "paper.yaml", paper)
        (folder / LOCK).write_text(locks)

    def set_learning_rates(self, *rates: float) -> None:
        """Have figure 3 of the periodic paper show these rates at smoke scale.

        The names that its claims use stay; an overlay drops those without a value. There is no
        other overlay over the figure: `edit_paper` has been called before.
        """
        named = {NAMES.get(rate, f"rate_{str(rate).replace('.', '_')}"): rate for rate in rates}
        known = LOWEST_FIRST | named
        name, key = "config/papers/periodic/fig3.yaml", "optimiser.learning_rate"
        self.edit_yaml(name, lambda figure: value_at(figure, *RATES, "sweep").update({key: known}))
        overlay = self.root / "config/scales/smoke/periodic/fig3.yaml"
        overlay.unlink(missing_ok=True)
        if named != known:
            dropped = {key: {one: named.get(one) for one in known}}
            put(overlay, {"runs": {"rates": {"sweep": dropped}}})

    def set_epochs(self, epochs: int) -> None:
        """Have the runs of figure 3 of the periodic paper take so many epochs at smoke scale."""
        for name in (
            "config/papers/periodic/fig3.yaml",
            "config/scales/smoke/periodic/fig3.yaml",
        ):
            if (self.root / name).exists():
                self.edit_yaml(name, lambda figure: value_at(figure, *RATES).update(epochs=epochs))

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a text that occurs in a file exactly once."""
        path = self.root / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    def hook(self, program: str, hook: str, **options: Any) -> None:
        """Have a program of this workspace begin with a function of `support.hooks`."""
        path = self.root / f"workflow/perigee/commands/{program}.py"
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
    """The jobs that make a figure of the periodic paper of its tables, as in `Workspace.jobs`.

    Args:
        figure: its name in the paper.
        tables: those that are to be made; without any name all that the project's file has.
    """
    key = f"periodic_{figure}"
    drawn = {f"draw_figure {key}", f"publish_figure {key}"}
    every = read_yaml(ROOT / f"config/papers/periodic/{figure}.yaml")["tables"]
    return drawn | {f"make_table {key}-{table}" for table in tables or every}


def training_jobs(*rates: float, epochs: int = EPOCHS) -> set[str]:
    """The jobs that train the ConvNet at some rates, as in `Workspace.jobs`."""
    return {f"train_run convnet-digits-lr{rate:g}-wd0.01-seed10/e{epochs}" for rate in rates}


def sweep_of(paper: dict[str, Any], figure: str = "fig3") -> dict[str, Any]:
    """The first runs of a figure, as they stand in the document of `Workspace.edit_paper`."""
    runs: dict[str, Any] = next(iter(paper["figures"][figure]["runs"].values()))
    return runs


def show_small_run(study: dict[str, Any], *, width: int, epochs: int) -> None:
    """Show one small run in figure 3 alone, under all the names that its claims use."""
    study["figures"] = {"fig3": study["figures"]["fig3"]}
    study["runs"]["si_convnet"]["model"]["width"] = width
    runs = sweep_of(study)
    runs["epochs"] = epochs
    runs["sweep"]["optimiser.learning_rate"] = dict.fromkeys(LOWEST_FIRST, 0.01)
    runs["sweep"]["seed"] = [10]


def show_rates(paper: dict[str, Any], *rates: float) -> None:
    """Have figure 3 show these rates, and make no claims."""
    paper["figures"]["fig3"]["claims"] = {}
    sweep_of(paper)["sweep"]["optimiser.learning_rate"] = list(rates)


def value_at(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping that keys lead to."""
    for key in keys:
        document = document[key]
    return document


def fitting(overlay: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The part of an overlay that fits the runs of a document."""
    found = {}
    for name, changes in overlay["runs"].items():
        with suppress(PerigeeError):
            merged(document.get("runs", {}), {name: changes}, "")
            found[name] = changes
    return {"runs": found}


def without_notes(document: dict[str, Any]) -> dict[str, Any]:
    """A file's content without the notes on our choices and on claims."""
    notes = ("ours", "seen", "untestable")
    return {key: value for key, value in document.items() if key not in notes}
