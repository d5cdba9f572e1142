"""A project of a user's own, with Perigee installed from a wheel and no clone in sight."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from perigee.planning.plan import make_plan
from support.workspace import DIGEST, ROOT, Workspace

PAGE = (ROOT / "docs/projects.md").read_text(encoding="utf-8")
SHOWN = re.findall(
    r"`((?:blocks|config)/[\w/]+\.(?:py|yaml))`[^`]*?:\n\n```(?:python|yaml)\n(.*?)```", PAGE, re.S
)
SMOKE = ("--config", "scale=smoke")
OWN_RUNS = {
    f"train_run convnet-digits-lr{rate}-wd0.01-seed0/e4" for rate in ("0.001", "0.01")
}  # of the study that the page shows


@dataclass(frozen=True)
class Installed:
    """An environment of its own, in which a wheel is installed, and a folder to work in."""

    environment: Path
    folder: Path

    def run(self, *command: str, within: str = ".") -> subprocess.CompletedProcess[str]:
        """A command; "python" and "perigee" are this environment's."""
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        programs = self.environment / "bin"
        return subprocess.run(
            [str(programs / command[0]), *command[1:]],
            cwd=self.folder / within,
            env={**variables, "PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def made(self, *command: str) -> str:
        """The output of a command, which has to succeed."""
        result = self.run(*command)
        assert result.returncode == 0, result.stdout
        return result.stdout

    def snakemake(self, *arguments: str) -> str:
        """Snakemake at smoke scale, which has to succeed."""
        return self.made("python", "-m", "snakemake", *arguments, *SMOKE)

    def jobs(self, *targets: str) -> set[str]:
        """The jobs of a dry run: "<rule> <product>", digests left out."""
        found = re.findall(r"^Job \d+: (.+)$", self.snakemake("-n", *targets), re.M)
        return {DIGEST.sub("", job) for job in found}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of this environment but Perigee, which comes from a wheel."""
    root = tmp_path_factory.mktemp("installed")
    source = Workspace.clone(root / "source").root
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", root]
    subprocess.run([*build, source], check=True)
    (wheel,) = root.glob("*.whl")
    venv.create(root / "environment", symlinks=True)
    python = root / "environment/bin/python"
    (site_packages,) = root.glob("environment/lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    install = ["install", "--no-deps", "--no-index", wheel]
    subprocess.run([*pip, "--python", python, *install], check=True)
    return root / "environment"


@pytest.fixture(scope="module")
def project(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A project with the blocks and the study of docs/projects.md, whose figure was made."""
    folder = tmp_path_factory.mktemp("empty folder")
    assert "my project is a project." in Installed(environment, folder).made(
        "perigee", "init", "my project"
    )
    project = Installed(environment, folder / "my project")
    for name, text in SHOWN:
        path = project.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    project.snakemake("study_sign_descent")
    return project


def test_the_page_shows_blocks_and_studies() -> None:
    assert [name for name, _ in SHOWN] == [
        "config/studies/momentum_question.yaml",
        "blocks/__init__.py",
        "blocks/sign_descent.py",
        "config/studies/sign_descent.yaml",
    ]


def test_a_figure_of_the_users_own_study_and_block_is_made_once(project: Installed) -> None:
    figure = project.folder / "results/smoke/figures/study_sign_descent.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Nothing to be done" in project.snakemake("study_sign_descent")
    listed = project.made("perigee", "status", "study_sign_descent", "--scale", "smoke")
    assert listed.startswith("2 runs at smoke scale: 2 done.")
    assert "all as they were made" in project.made("perigee", "store", "verify")
    log = next(project.folder.glob("results/logs/train_run/*/*.log"))
    assert str(project.folder) not in log.read_text()


def test_targets_of_a_clone_are_targets_of_a_project(project: Installed) -> None:
    runs = {f"train_run convnet-digits-lr{rate}-wd0.01-seed10/e4" for rate in (0.1, 0.3)}
    assert runs < project.jobs("periodic_fig3")
    asked = {"draw_figure study_weight_decay", "judge_claims periodic_fig3", "write_pages"}
    assert asked < project.jobs("study_weight_decay", "claims", "report")
    assert "study_momentum_question" in project.snakemake("plan", "study_momentum_question")
    assert "periodic_fig3" in project.made("perigee", "plan", "--scale", "smoke")
    cluster = project.made("python", "-m", "snakemake", "--profile", "slurm", "-n", "periodic_fig3")
    assert "build_dataset cifar10" in cluster


def test_an_edited_block_trains_its_own_runs_again_and_no_others(project: Installed) -> None:
    others = project.jobs("periodic_fig3")
    assert project.jobs("study_sign_descent") == set()
    module = project.folder / "blocks/sign_descent.py"
    kept = module.read_text()
    module.write_text(f"# A comment.\n{kept}")
    assert project.jobs("study_sign_descent") == set()
    module.write_text(kept.replace("value=-1", "value=-2"))
    trained = {job for job in project.jobs("study_sign_descent") if job.startswith("train_run")}
    assert trained == OWN_RUNS
    assert project.jobs("periodic_fig3") == others
    module.write_text(kept)
    assert project.jobs("study_sign_descent") == set()


def test_its_products_are_those_of_a_clone(project: Installed) -> None:
    """So that the two can share a store."""
    program = (
        "import perigee; print(*perigee.open('periodic_fig6', scale='smoke').product.products)"
    )
    told = project.made("python", "-c", program).split()
    assert told == list(make_plan(["periodic"], "smoke").figures["periodic_fig6"].products)


def test_what_is_wrong_is_told_in_a_sentence(project: Installed) -> None:
    def told(file: str, old: str, new: str) -> str:
        path = project.folder / file
        kept = path.read_text()
        assert old in kept
        path.write_text(kept.replace(old, new))
        try:
            by_hand = project.run("perigee", "plan")
            result = project.run("python", "-m", "snakemake", "-n")
        finally:
            path.write_text(kept)
        assert by_hand.returncode == 1
        assert result.returncode != 0
        assert "Traceback" not in by_hand.stdout + result.stdout
        (line,) = (one for one in result.stdout.splitlines() if one.startswith("Error: "))
        assert line.removeprefix("Error: ") in by_hand.stdout
        return line

    blocks, settings = "blocks/__init__.py", "config/config.yaml"
    assert "already a block of kind 'optimiser' named 'sgd'" in told(blocks, "sign_descent", "sgd")
    assert "SyntaxError" in told(blocks, "class", "klass")
    assert "made with Perigee 9.1.0" in told(settings, "perigee: 0.1.0", "perigee: 9.1.0")
    below = project.run("perigee", "status", within="config/studies")
    assert below.stdout.endswith(f"run it in {project.folder}.\n")
    assert project.run("perigee", "init", ".").returncode == 1


def test_without_a_project_and_with_results_elsewhere(environment: Path, tmp_path: Path) -> None:
    """A figure computed from a formula, in folders with spaces."""
    folder, results = tmp_path / "some where", tmp_path / "another disk"
    folder.mkdir()
    (snakefile,) = environment.glob("lib/python*/site-packages/perigee/_carried/Snakefile")
    command = (
        "python",
        "-m",
        "snakemake",
        "--snakefile",
        str(snakefile),
        "--directory",
        str(folder),
    )
    within = Installed(environment, tmp_path)
    within.made(*command, "periodic_fig2", *SMOKE, f"results={results}")
    assert (results / "smoke/figures/periodic_fig2.pdf").is_file()
    assert not (folder / "results").exists()
