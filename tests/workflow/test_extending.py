"""The examples of docs/extending.md work as written."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from support.workspace import ROOT, Workspace

PAGE = (ROOT / "docs/extending.md").read_text()
BLOCK = re.compile(
    r"`(?P<file>[\w/.]+\.(?:py|yaml))`"
    r"(?:\s+below\s+`(?P<below>[^`]+)`|(?P<end>,\s+at\s+the\s+end)[^`]*?|[^`]*?)?:\n\n"
    r"```(?:python|yaml)\n(?P<text>.*?)```",
    re.DOTALL,
)
PROGRAMS = Path(sys.executable).parent

DIGESTS = """
import json
from perigee.planning.plan import make_plan
plans = [make_plan(["periodic", "regimes", "smd"], scale) for scale in ("smoke", "laptop", "paper")]
told = {
    folder: sorted(getattr(product, "measure_identities", ()))
    for plan in plans for folder, product in plan.of_papers.products.items()
}
print(json.dumps(told))
"""
NEW = ("perceptron", "sign_descent", "low_digits", "confidence")
GOLDEN = f"""
from perigee.equivalence.golden import golden_products
named = [name for product in golden_products() for name in product["blocks"]]
print(*(named.count(name) for name in {NEW}))
"""


@dataclass(frozen=True)
class Shown:
    """A block of code of the page: a whole file, or what goes below a line or at the end of one."""

    file: str
    below: str | None
    at_end: bool
    text: str

    @property
    def is_study(self) -> bool:
        return self.file.startswith("config/studies/")


SHOWN = [
    Shown(match["file"], match["below"], bool(match["end"]), match["text"])
    for match in BLOCK.finditer(PAGE)
]


def put_in(workspace: Workspace, blocks: list[Shown]) -> None:
    for block in blocks:
        path = workspace.root / block.file
        if block.at_end:
            path.write_text(f"{path.read_text()}\n\n{block.text}")
        elif block.below is not None:
            workspace.replace(block.file, f"{block.below}\n", f"{block.below}\n{block.text}")
        else:
            assert not path.exists()
            path.write_text(block.text)


def printed(workspace: Workspace, program: str) -> str:
    result = workspace.by_hand("python", "-c", program)
    assert result.returncode == 0, result.stdout
    return result.stdout


def contents(store: Path) -> dict[Path, tuple[str, int]]:
    """The digest and modification time of every product's files."""
    files = [path for path in store.glob("*/**/*") if path.is_file()]
    return {
        path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(store).parts)
    }


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A fresh clone in which periodic_fig3 was made, with everything that the page shows."""
    workspace = Workspace.clone(tmp_path_factory.mktemp("extended"))
    before = printed(workspace, DIGESTS)
    workspace.make("periodic_fig3")
    put_in(workspace, SHOWN)
    after = printed(workspace, DIGESTS)
    assert json.loads(after) == json.loads(before), "existing products and their measures stay"
    return workspace


def test_the_page_shows_each_kind_of_block_and_its_line() -> None:
    registry = "registry.py"
    assert [(block.file.rpartition("/")[2], block.below, block.at_end) for block in SHOWN] == [
        ("sign_descent.py", None, False),
        ("optimisers.py", None, True),
        (registry, "optimisers.SGD,", False),
        ("perceptron.py", None, False),
        ("models.py", None, True),
        (registry, "models.ConvNet,", False),
        ("low_digits.py", None, False),
        ("datasets.py", None, True),
        (registry, "datasets.ImageFolder,", False),
        ("confidence.py", None, False),
        ("measures.py", None, True),
        (registry, "measures.Checkpoints,", False),
        ("confidence.yaml", None, False),
        ("sign_descent.yaml", None, False),
        ("golden.py", '"model": {', False),
        ("golden.py", '"optimiser": {', False),
        ("golden.py", '"dataset": {', False),
        ("golden.py", '"measure": {', False),
    ]


def test_a_metric_of_a_new_figure_touches_nothing_of_the_others(extended: Workspace) -> None:
    """Its measure is taken of the runs that it shows: at kept checkpoints, or by training along."""
    assert extended.jobs("periodic_fig3") == set()
    store = extended.root / "results/store"
    before = contents(store)
    trained = {job for job in extended.jobs("study_confidence") if job.startswith("train_run")}
    assert trained == {
        f"train_run convnet-digits-lr{rate}-wd0.01-seed10/e4" for rate in ("0.1", "0.3")
    }
    extended.make("study_confidence")
    after = contents(store)
    assert {path: after[path] for path in before} == before
    added = {path.relative_to(store).parts[0] for path in after.keys() - before.keys()}
    assert added == {"run", "table", "figure"}
    runs = {path for path in after.keys() - before.keys() if path.is_relative_to(store / "run")}
    assert {path.parent.name.rpartition("-")[0] for path in runs} == {"confidence"}
    assert extended.jobs("periodic_fig3", "study_confidence") == set()
    plotted = pd.read_csv(extended.root / "results/smoke/figures/study_confidence.csv")
    runs_table = plotted[plotted["table"] == "runs"]
    assert runs_table["test_confidence"].between(0.1, 1).all()
    taken = {}
    for path in runs:
        if path.name == "rows.npy":
            assert np.load(path)["epoch"].tolist() == [0, 1, 2, 3, 4]
            told = json.loads(path.with_name("provenance.json").read_text())["details"]
            taken[path.parents[2].name.split("-")[2]] = told["by"]
    # Figure 5 forks from the run with the rate 0.3, so the plan has its checkpoints kept.
    assert taken == {"lr0.1": "replay", "lr0.3": "checkpoints"}


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
    (provenance, *_) = extended.root.glob("results/store/run/perceptron-*/e2/provenance.json")
    modules = json.loads(provenance.read_text())["modules"]
    assert "perigee.kernel.optimisers.sign_descent" in modules
    assert "perigee.kernel.optimisers.sgd" not in modules
    assert "perigee.measures.confidence" not in modules


def test_the_new_blocks_have_golden_runs(extended: Workspace) -> None:
    counts = [int(count) for count in printed(extended, GOLDEN).split()]
    assert len(counts) == len(NEW)
    assert min(counts) >= 1


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
