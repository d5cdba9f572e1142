"""The precision of runs: their own, or else that of the scale."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from perigee.errors import PerigeeError
from perigee.planning.plan import read_requests
from perigee.spec import RunSpec
from support import configuration
from support.configuration import put, read_from, shipped_paper

PERIODIC = shipped_paper("periodic", ["fig3"])
MINE: dict[str, Any] = {
    "study": "mine",
    "question": "Does weight decay matter?",
    "run": "periodic.si_convnet",
    "epochs": 3,
    "sweep": {"seed": [1]},
}


@pytest.mark.parametrize(
    ("scale", "precision"),
    [("smoke", "float32"), ("laptop", "float32"), ("workstation", "tf32"), ("paper", "tf32")],
)
def test_the_papers_runs_have_that_of_the_scale(scale: str, precision: str) -> None:
    _, requests = read_requests(["periodic", "regimes", "smd"], scale)
    runs = [
        run.spec
        for figure in requests
        if not figure.key.startswith("study_")
        for table in figure.tables
        for run in table.runs
    ]
    assert {run.precision for run in runs} == {precision}
    parents = {run.parent.run.precision for run in runs if run.parent is not None}
    assert parents == {precision}


def study_run(folder: Path, periodic: Any = PERIODIC, precision: str = "", **study: Any) -> RunSpec:
    """The run of a study at a scale of one's own, which may name a precision."""
    documents = {"periodic": periodic, "mine": MINE | study}
    configuration.write(folder, documents)
    told = {"precision": precision} if precision else {}
    mine = {"description": "d", "tests_claims": False, **told}
    put(folder / "config/scales/mine/scale.yaml", mine)
    with read_from(folder):
        _, requests = read_requests(["periodic"], "mine")
    (figure,) = (one for one in requests if one.key == "study_mine")
    return figure.tables[0].runs[0].spec


def test_a_scale_that_names_none_has_pytorchs(tmp_path: Path) -> None:
    assert study_run(tmp_path).precision == "tf32"
    assert study_run(tmp_path, precision="bfloat16").precision == "bfloat16"


def test_a_run_that_is_written_out_has_it_too(tmp_path: Path) -> None:
    run = PERIODIC["runs"]["si_convnet"]
    assert study_run(tmp_path, run=run, precision="bfloat16").precision == "bfloat16"
    own = run | {"precision": "float64"}
    assert study_run(tmp_path, run=own, precision="bfloat16").precision == "float64"


def test_a_run_that_names_one_keeps_it_and_gives_it_to_its_forks(tmp_path: Path) -> None:
    periodic = copy.deepcopy(PERIODIC)
    periodic["runs"]["si_convnet"]["precision"] = "float64"
    fork = study_run(tmp_path, periodic, "bfloat16", run="periodic.near_destabilisation")
    assert fork.precision == "float64"
    assert fork.parent is not None
    assert fork.parent.run.precision == "float64"
    assert study_run(tmp_path, periodic, "bfloat16", set={"precision": "tf32"}).precision == "tf32"


def test_an_unknown_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PerigeeError, match="'precision' is 'float16'; did you mean"):
        study_run(tmp_path, precision="float16")
