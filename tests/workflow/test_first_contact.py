"""`quickstart.py figures`: what is made first, what is said meanwhile, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.workspace import HOLD, Workspace, make_holdable, sessions, show_rates

SCALE = ("--config", "scale=smoke")
RATE = 0.3
SECONDS = 240


def three_figures(study: dict[str, Any]) -> None:
    """A computed figure, one of a run, and one of steps of another run, without claims."""
    figures = study["figures"]
    study["figures"] = {name: figures[name] | {"claims": {}} for name in ("fig2", "fig3", "fig4")}
    show_rates(study, RATE)


@pytest.fixture
def small(tmp_path: Path) -> Workspace:
    workspace = Workspace.clone(tmp_path / "workspace")
    workspace.edit_paper(three_figures)
    return workspace


def figures(workspace: Workspace, *options: str) -> subprocess.CompletedProcess[str]:
    """The program that quickstart.py starts in its environment, run."""
    return workspace.by_hand(sys.executable, "-m", "perigee.quickstart", *options)


def test_a_computed_figure_comes_first_then_the_first_to_train_for_then_the_rest(
    small: Workspace,
) -> None:
    made = figures(small, "--paper", "periodic", *SCALE, "progress_interval=0.1")
    assert made.returncode == 0, made.stdout
    lines = made.stdout.splitlines()
    assert lines[0] == (
        "Figures as they are made: results/smoke/index.html; "
        "Snakemake's log: results/logs/quickstart.log"
    )
    drawn = [line for line in lines if " drawn: results" in line]
    assert drawn == [
        f"periodic_fig{number} drawn: results/smoke/figures/periodic_fig{number}.png"
        for number in (2, 3, 4)
    ]
    # What is being made, how far it is, how long it will take.
    assert "periodic_fig2 is computed: no training" in lines
    assert "periodic_fig3 waits: 0 of 1 runs trained, time unknown yet" in lines
    assert any(re.match(r"periodic_fig\d is evaluated and drawn: 1 of 1", line) for line in lines)
    assert not any("regimes" in line for line in lines)
    assert lines[-1] == (
        "The report is results/smoke/index.html; in one file: results/smoke/report.html"
    )
    assert (small.root / "results/smoke/report.html").is_file()
    page = (small.root / "results/smoke/index.html").read_text()
    assert "not made yet" not in page
    assert "pages/provenance.html#periodic_fig2" in page
    # Snakemake's own lines are in the file and not here.
    log = (small.root / "results/logs/quickstart.log").read_text()
    assert log.index("draw_figure periodic_fig2") < log.index("train_run")
    assert log.index("publish_figure periodic_fig3") < log.index("draw_figure periodic_fig4")
    assert "Select jobs" not in made.stdout

    again = figures(small, "--paper", "periodic", *SCALE)
    assert again.returncode == 0
    assert again.stdout.splitlines()[1:-1] == [
        *drawn,
        "all figures 3 of 3 drawn: claims and report are being made",
    ]


def test_a_dry_run_makes_nothing_and_names_the_report_of_its_scale(small: Workspace) -> None:
    planned = figures(small, "-n", "--config", "scale=smoke", "results=else where")
    assert planned.returncode == 0, planned.stdout
    lines = planned.stdout.splitlines()
    assert "periodic_fig3: waits, 0 of 1 runs trained, time unknown yet" in lines
    assert lines[-1] == (
        "Nothing was made. The report would be else where/smoke/index.html and "
        "else where/smoke/report.html."
    )
    assert not (small.root / "else where/smoke").exists()
    assert not (small.root / "else where/store").exists()


def test_a_failure_shows_the_end_of_the_log_and_its_name(small: Workspace) -> None:
    small.hook("train", "fail", message="the reason")
    made = figures(small, *SCALE, "papers=[periodic]")
    assert made.returncode == 1
    lines = made.stdout.splitlines()
    assert lines[-1] == "Snakemake failed; these are the last lines of results/logs/quickstart.log."
    log = (small.root / "results/logs/quickstart.log").read_text().splitlines()
    assert lines[-1 - 25 : -1] == log[-25:]
    assert any(line.startswith("failed: ") and "the reason" in line for line in lines)
    assert "The report is" not in made.stdout


def test_a_wrong_configuration_gets_its_sentence(small: Workspace) -> None:
    made = figures(small, "--paper", "periodc", *SCALE)
    assert made.returncode == 1
    assert "'periodc'" in made.stdout.splitlines()[-1]
    assert "Traceback" not in made.stdout
    assert not (small.root / "results/logs/quickstart.log").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_passed_on_and_the_same_command_goes_on(
    number: signal.Signals, small: Workspace
) -> None:
    make_holdable(small)
    small.set_epochs(20)
    small.edit_paper(lambda study: study["figures"].pop("fig4"))
    small.edit_paper(lambda study: study["figures"].pop("fig2"))
    (small.root / HOLD).touch()
    options = ["--paper", "periodic", *SCALE, "save_interval=0.2"]
    started = subprocess.Popen(
        [sys.executable, "-m", "perigee.quickstart", *options],
        cwd=small.root,
        env={**os.environ, "PYTHONPATH": str(small.root / "workflow")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + SECONDS
    while not list(small.root.glob("results/store/run/*/unfinished/e20/latest.safetensors")):
        assert time.monotonic() < end, "no state was saved"
        time.sleep(0.05)
    started.send_signal(number)
    printed, _ = started.communicate(timeout=SECONDS)
    assert started.returncode == 128 + number
    assert printed.splitlines()[-1] == (
        "Stopped. What was computed is kept: the same command goes on from there."
    )
    assert "Traceback" not in printed
    if number is signal.SIGTERM:
        return  # Jobs get the same signal from Snakemake, and go on in the same way.
    (small.root / HOLD).unlink()
    again = figures(small, *options)
    assert again.returncode == 0, again.stdout
    assert len(sessions(small.store("run/*/e20"))) == 2
