"""What docs/extending.md shows does what it says, as written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from support.workspace import ROOT, Workspace

PAGE = (ROOT / "docs/extending.md").read_text()
BLOCK = re.compile(
    r"`(?P<file>[\w/.]+\.(?:py|yaml))`(?:\s+below\s+`(?P<below>[^`]+)`[^`]*)?:\n\n"
    r"```(?:python|yaml)\n(?P<text>.*?)```",
    re.DOTALL,
)
PROGRAMS = Path(sys.executable).parent

DIGESTS = """
import json, sys
from perigee.plan import make_plan
plans = [make_plan(["periodic", "regimes"], scale) for scale in ("smoke", "laptop", "paper")]
print(json.dumps(sorted({f for plan in plans for f in plan.of_papers.referenced_folders})))
"""
GOLDEN = """
from perigee.equivalence.golden import golden_runs, run_kinds
new = {"perceptron", "sign_descent"}
kinds = [kind for kind in run_kinds([]) if new & set(vars(kind).values())]
print(len(kinds), sum(len(golden_runs(kind)) for kind in kinds))
"""


@dataclass(frozen=True)
class Shown:
    """A block of code of the page: a whole file, or what goes below a line of one."""

    file: str
    below: str | None
    text: str


SHOWN = [Shown(match["file"], match["below"], match["text"]) for match in BLOCK.finditer(PAGE)]


def put_in(workspace: Workspace) -> None:
    for block in SHOWN:
        path = workspace.root / block.file
        if block.below is None:
            assert not path.exists()
            path.write_text(block.text)
        else:
            workspace.replace(block.file, f"{block.below}\n", f"{block.below}\n{block.text}")


def printed(workspace: Workspace, program: str) -> str:
    result = workspace.by_hand("python", "-c", program)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A fresh clone with everything that the page shows."""
    workspace = Workspace.clone(tmp_path_factory.mktemp("extended"))
    before = printed(workspace, DIGESTS)
    put_in(workspace)
    assert json.loads(printed(workspace, DIGESTS)) == json.loads(before), "existing products stay"
    return workspace


def test_the_page_shows_each_kind_of_block_and_its_line() -> None:
    assert [(block.file.rpartition("/")[2], block.below) for block in SHOWN] == [
        ("sign_descent.py", None),
        ("registry.py", '"optimiser": {'),
        ("perceptron.py", None),
        ("registry.py", '"model": {'),
        ("low_digits.py", None),
        ("registry.py", '"dataset": {'),
        ("sign_descent.yaml", None),
        ("golden.py", '"model": {'),
        ("golden.py", '"optimiser": {'),
    ]


def test_the_new_study_is_drawn(extended: Workspace) -> None:
    extended.make("study_sign_descent")
    assert (extended.root / "results/smoke/figures/study_sign_descent.png").stat().st_size > 10_000
    plotted = pd.read_csv(extended.root / "results/smoke/figures/study_sign_descent.csv")
    runs = plotted[plotted["table"] == "runs"]
    assert set(runs["optimiser.weight_decay"]) == {0.01, 0.1}
    assert set(runs["seed"]) == {0, 1}
    assert set(runs["epoch"]) == {0, 1, 2}
    (periods,) = (rows for table, rows in plotted.groupby("table") if table == "periods")
    assert len(periods) == 4
    # It learns: five classes, so guessing is wrong four times of five.
    assert (runs.loc[runs["epoch"] == 2, "test_error"] < 0.5).all()
    provenance = next(extended.root.glob("results/store/run/*/e2/provenance.json"))
    modules = json.loads(provenance.read_text())["modules"]
    assert "perigee.training.optimisers.sign_descent" in modules
    assert "perigee.training.optimisers.sgd" not in modules


def test_the_new_blocks_have_golden_runs(extended: Workspace) -> None:
    kinds, runs = map(int, printed(extended, GOLDEN).split())
    assert kinds == 2
    assert runs >= 4


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]])
def test_what_the_page_shows_passes_the_checks(extended: Workspace, check: list[str]) -> None:
    sources = sorted({block.file for block in SHOWN if block.file.endswith(".py")})
    result = subprocess.run(
        [PROGRAMS / "ruff", *check, *sources],
        cwd=extended.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_the_first_file_is_the_one_that_comes_with_the_project() -> None:
    shown = re.search(r"```yaml\n(study: label_smoothing.*?)```", PAGE, re.DOTALL)
    assert shown
    there = (ROOT / "config/studies/label_smoothing.yaml").read_text()
    assert yaml.safe_load(shown[1]) == yaml.safe_load(there)
