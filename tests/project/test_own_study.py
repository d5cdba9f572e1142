"""A study of a user's own, with a claim, breaks none of the tests that come with the project."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from support.workspace import ROOT, TESTS, Workspace

READING_STUDIES = (
    "claims/test_claims.py",
    "claims/test_claims_at_scales.py",
    "planning/test_claims_configuration.py",
)
CASES_OF_STUDIES = "not periodic_fig and not regimes_fig and not smd_fig"
"""The cases of the papers' own figures are the same with and without the study."""


def test_a_users_own_study_with_a_claim_breaks_no_test(tmp_path: Path) -> None:
    clone = Workspace.clone(tmp_path / "clone").root
    shutil.copytree(TESTS, clone / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    study = yaml.safe_load((ROOT / "config/studies/label_smoothing.yaml").read_text("utf-8"))
    (claim,) = study["claims"].values()
    mine = study | {"study": "mine", "claims": {"mine": claim}}
    (clone / "config/studies/mine.yaml").write_text(yaml.safe_dump(mine), "utf-8")
    paths = [f"tests/{name}" for name in READING_STUDIES]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--quiet", "--numprocesses", "0"),
            *("-k", CASES_OF_STUDIES, *paths),
        ],
        cwd=clone,
        env={
            "PATH": str(Path(sys.executable).parent),
            "PYTHONPATH": str(clone / "workflow"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
