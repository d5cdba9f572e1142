"""The profile `slurm/` on a real SLURM: the README's command, groups, watching, refusals."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.cluster import SECONDS, Cluster, Started, wait_until
from support.workspace import (
    HOLD,
    Workspace,
    make_holdable,
    result_of,
    sessions,
    show_rates,
    sweep_of,
)

pytestmark = pytest.mark.timeout(600, func_only=True)  # not of waiting for one's turn

STATE = "e20/latest.safetensors"
OFTEN = ("--perigee-slurm-init-seconds-before-status-checks", "3")
"""Ask for jobs more often than the profile does, so that tests are shorter."""

LEARNING_RATES = (0.05, 0.1, 0.2, 0.3)


def snakemake(workspace: Workspace, *options: str, **environment: str) -> Started:
    """`snakemake --profile slurm` at smoke scale."""
    output = workspace.root.parent / f"{workspace.root.name}.log"
    program = str(Path(sys.executable).with_name("snakemake"))
    with output.open("wb") as file:
        process = subprocess.Popen(
            [program, "--profile", "slurm", *options, "--config", "scale=smoke"],
            cwd=workspace.root,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Started(process, output)


def training_times(workspace: Workspace) -> list[tuple[str, float]]:
    """The time at which each run's training began, and its duration."""
    found = []
    for path in workspace.root.glob("results/store/run/*/e*/provenance.json"):
        details = json.loads(path.read_text())["details"]
        if details.get("trained_epochs"):
            found.append((details["sessions"][0]["started"], details["seconds"]))
    return found


def logged(workspace: Workspace) -> str:
    """The logs of training."""
    paths = workspace.root.glob("results/logs/train_run/*/*.log")
    return "".join(path.read_text() for path in paths)


def gpus_given(workspace: Workspace) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each process that trains in the workspace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            here = (process / "cwd").resolve() == workspace.root
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if here and command[1:4] == [b"-m", b"perigee", b"train"]:
            given = [e for e in environment if e.startswith(b"CUDA_VISIBLE_DEVICES=")]
            found += [entry.decode().partition("=")[2] for entry in given]
    return found


FIGURES = ("fig2", "fig3", "fig5", "fig6")
"""One computed from a formula, one of runs, one of forks too, one of checkpoints."""


def keep_figures(study: dict[str, Any]) -> None:
    study["figures"] = {name: study["figures"][name] for name in FIGURES}


def test_all_figures_from_a_fresh_clone(cluster: Cluster, tmp_path: Path) -> None:
    """The command of the README works as written, except for the scale and with four figures."""
    workspace = Workspace.clone(tmp_path / "clone")
    # The other figures' jobs are of the same kinds, and twice as many take twice as long.
    workspace.replace(
        "config/config.yaml", "papers: [periodic, regimes, smd]", "papers: [periodic]"
    )
    workspace.edit_paper(keep_figures)
    often = "perigee-slurm-init-seconds-before-status-checks: 3"
    workspace.replace("slurm/profile.yaml", f"{often[:-1]}15", often)  # only to save time
    started = snakemake(workspace, "all_figures")
    try:
        assert started.end(550) == 0, started.printed
    finally:
        started.process.kill()
    figures = list((workspace.root / "results/smoke/figures").glob("*.png"))
    assert len(figures) == len(FIGURES)
    jobs = {number: cluster.job(number) for number in started.submitted}
    assert {job["JobState"] for job in jobs.values()} == {"COMPLETED"}
    # Whatever trains or predicts, and nothing else, has one GPU to itself.
    computing = {
        number
        for number, rules in re.findall(
            r"jobid (\d+) \(log: \S*/slurm_logs/(\S+?)/", started.printed
        )
        if "train_run" in rules or "evaluate_run" in rules
    }
    assert computing
    gpus = {number for number, job in jobs.items() if "gres:gpu:1" in job.get("TresPerNode", "")}
    assert gpus == computing
    # Runs share submissions, and there is a log of each.
    trained = len(training_times(workspace))
    assert trained > 10
    members = [cluster.members(number) for number in jobs]
    assert max(members) == 8
    assert sum(members) == trained
    logs = list(workspace.root.glob("results/logs/train_run/*/*.log"))
    assert len(logs) == trained
    again = workspace.snakemake("all_figures", options=("-n",))
    assert "Nothing to be done" in again.stdout


@pytest.fixture
def four_runs(tmp_path: Path) -> Workspace:
    """Figure 3 shows four runs of some seconds, in one table."""

    def edit(study: dict[str, Any]) -> None:
        figure = study["figures"]["fig3"]
        study["figures"] = {"fig3": figure}
        figure["tables"] = {"runs": figure["tables"]["runs"]}
        show_rates(study, *LEARNING_RATES)
        sweep_of(study)["epochs"] = 20

    workspace = Workspace.clone(tmp_path / "four")
    # Figures of the other paper share runs with this one, and would have them shorter first.
    workspace.replace(
        "config/config.yaml", "papers: [periodic, regimes, smd]", "papers: [periodic]"
    )
    workspace.edit_paper(edit)
    make_holdable(workspace)
    return workspace


def test_short_runs_share_a_submission_and_its_gpu(four_runs: Workspace, cluster: Cluster) -> None:
    """They train at the same time, and meanwhile each is listed with the job's id."""
    hold = four_runs.root / HOLD
    hold.touch()
    started = snakemake(four_runs, "periodic_fig3", "--cores=4", "--until", "train_run", *OFTEN)
    status = [sys.executable, "-m", "perigee", "status", "periodic_fig3", "--scale=smoke"]
    try:
        number = wait_until(lambda: started.submitted, "nothing is submitted")[0]
        wait_until(lambda: cluster.state(number) == "RUNNING", "the job does not start")
        queued = four_runs.by_hand(*status).stdout
        wait_until(
            lambda: len(list(four_runs.root.glob(f"results/store/run/*/unfinished/{STATE}"))) == 4,
            "the four do not train at the same time",
        )
        gpus = gpus_given(four_runs)
        training = four_runs.by_hand(*status).stdout
        hold.unlink()
        assert started.end() == 0, started.printed
    finally:
        started.process.kill()
    assert started.submitted == [number]
    job = cluster.job(number)
    assert job["TresPerNode"] == "gres:gpu:1"
    assert job["NumCPUs"] == "4"
    assert len(gpus) == 4
    assert len(set(gpus)) == 1
    assert len(training_times(four_runs)) == 4
    assert queued.count(f"job {number}") == 4, queued
    assert len(re.findall(r"^ *training .*lr", training, flags=re.MULTILINE)) == 4, training
    assert four_runs.by_hand(*status).stdout.count("done") >= 4


def test_a_calibration_is_a_job_with_a_gpu(four_runs: Workspace, cluster: Cluster) -> None:
    started = snakemake(four_runs, "calibrate", "periodic_fig3", *OFTEN)
    try:
        assert started.end() == 0, started.printed
    finally:
        started.process.kill()
    (number,) = started.submitted
    assert cluster.job(number)["TresPerNode"] == "gres:gpu:1"
    assert not list(four_runs.root.glob("results/store/run"))
    record = json.loads((four_runs.root / "results/records/calibrations.json").read_text())
    (measured,) = record["calibrations"]
    assert f"by 'snakemake calibrate', on: {measured['device']}" in started.printed


def test_two_processes_share_a_run_in_one_job(four_runs: Workspace, cluster: Cluster) -> None:
    four_runs.edit_paper(lambda study: show_rates(study, 0.1))
    four_runs.edit_paper(lambda study: sweep_of(study).update(epochs=2))
    four_runs.replace("config/config.yaml", "processes_per_run: 1 ", "processes_per_run: 2 ")
    started = snakemake(four_runs, "periodic_fig3", "--until", "train_run", *OFTEN)
    try:
        assert started.end() == 0, started.printed
    finally:
        started.process.kill()
    (number,) = started.submitted
    assert cluster.job(number)["NumCPUs"] == "2"
    (provenance,) = four_runs.root.glob("results/store/run/*/e*/provenance.json")
    assert json.loads(provenance.read_text())["details"]["ranks"] == 2


def test_two_tasks_share_a_run_are_stopped_and_go_on(
    four_runs: Workspace, cluster: Cluster
) -> None:
    """A task for each of two nodes, which here are one: the cluster has no more."""
    four_runs.edit_paper(lambda study: show_rates(study, 0.1))
    four_runs.edit_paper(lambda study: sweep_of(study).update(epochs=30))
    four_runs.replace("config/config.yaml", "processes_per_run: 1 ", "processes_per_run: 2 ")
    four_runs.replace("config/config.yaml", "nodes_per_run: 1 ", "nodes_per_run: 2 ")
    four_runs.replace("config/config.yaml", "progress_interval: 10 ", "progress_interval: 1 ")
    one_node = "    nodes: 1\n    cpus_per_task: 2\n"
    four_runs.replace("slurm/profile.yaml", '    gres: "gpu:1" ', f'{one_node}    gres: "gpu:1" ')
    alone = four_runs.copy(four_runs.root.parent / "alone")
    options = ("--until", "train_run", *OFTEN)
    started = snakemake(four_runs, "periodic_fig3", *options)
    try:
        wait_until(lambda: re.search(r"epoch [1-9]", logged(four_runs)), "training does not start")
        (first,) = started.submitted
        subprocess.run(["scancel", "--signal=TERM", first], check=True)
        assert started.end() == 0, started.printed
    finally:
        started.process.kill()
    assert len(started.submitted) == 2, started.printed
    for number in started.submitted:
        assert cluster.job(number)["NumCPUs"] == "2"
    (run,) = four_runs.root.glob("results/store/run/*/e*")
    assert json.loads((run / "provenance.json").read_text())["details"]["ranks"] == 2
    assert len(sessions(run)) == 2
    (epoch,) = re.findall(r"continuing after epoch (\d+)", logged(four_runs))
    assert int(epoch) >= 1  # what was saved when it was told to stop, long before a minute
    undisturbed = snakemake(alone, "periodic_fig3", *options)
    assert undisturbed.end() == 0, undisturbed.printed
    (other,) = alone.root.glob("results/store/run/*/e*")
    assert result_of(run) == result_of(other)


def test_a_cluster_that_wants_gpus_instead_of_gres_and_no_work_on_its_login_node(
    four_runs: Workspace, cluster: Cluster
) -> None:
    """The comments' advice works: `gpu` instead of `gres`, single runs, and jobs for figures."""
    four_runs.replace(
        "slurm/profile.yaml", '    gres: "gpu:1" ', "    gpu: 1\n    gpu_model: pretend "
    )
    four_runs.replace("config/cluster.yaml", "short_run_steps: 50000", "short_run_steps: 0")
    four_runs.edit_paper(lambda study: sweep_of(study).update(epochs=2))
    four_runs.replace(
        "config/config.yaml", "draw_on_submit_node: true", "draw_on_submit_node: false"
    )
    started = snakemake(four_runs, "periodic_fig3", *OFTEN)
    try:
        assert started.end() == 0, started.printed
    finally:
        started.process.kill()
    rules = re.findall(r"slurm_logs/rule_(\w+)/", started.printed)
    assert sorted(rules) == ["draw_figure", "make_table", *["train_run"] * 4]
    jobs = [cluster.job(number) for number in started.submitted]
    gpus = [job["TresPerJob"] for job in jobs if "TresPerJob" in job]
    assert gpus == ["gres:gpu:pretend:1"] * 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "slurm_partition: main ",
            "slurm_partition: nope ",
            r"no partition 'nope' \(it has: main\)",
        ),
        (
            '"gpu:1"',
            '"gpu:h100:1"',
            r"No node has what .*gpu:h100:1.*there are nodes with gpu:preten",
        ),
    ],
)
def test_what_the_cluster_has_not_is_said_in_a_sentence(
    old: str, new: str, said: str, four_runs: Workspace, cluster: Cluster
) -> None:
    four_runs.replace("slurm/profile.yaml", old, new)
    started = snakemake(four_runs, "periodic_fig3")
    assert started.end() == 1
    assert re.search(said, started.printed), started.printed
    lines = (four_runs.root / "slurm/profile.yaml").read_text().splitlines()
    ((number, path),) = re.findall(r"in line (\d+) of (\S+)\.$", started.printed, re.MULTILINE)
    assert path == "slurm/profile.yaml"
    assert new in lines[int(number) - 1]
    assert started.submitted == []
    assert "Traceback" not in started.printed


def test_an_option_that_takes_the_gpus_away_is_refused(
    four_runs: Workspace, cluster: Cluster
) -> None:
    """--set-resources for one rule replaces all that the profile says of every rule."""
    started = snakemake(four_runs, "periodic_fig3", "--set-resources", "make_table:mem_mb=9000")
    assert started.end() == 1
    assert "train_run would be submitted without 'gres: gpu:1'" in started.printed, started.printed
    assert re.search(r"change line \d+ of slurm/profile.yaml", started.printed)
    assert started.submitted == []
    assert "Traceback" not in started.printed


def only(folder: Path, *leave_out: str) -> str:
    """A PATH with every program but some."""
    folder.mkdir()
    for place in (Path(sys.executable).parent, Path("/usr/bin")):
        for program in place.iterdir():
            if program.name not in leave_out and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


def pretend_sbatch(folder: Path, error: str) -> str:
    """A PATH on which sbatch refuses everything with that message."""
    folder.mkdir()
    program = folder / "sbatch"
    program.write_text(f"#!/bin/sh\necho '{error}' >&2\nexit 1\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_without_sbatch(four_runs: Workspace, tmp_path: Path) -> None:
    path = only(tmp_path / "bin", "sbatch", "squeue", "sinfo", "sacct", "scontrol", "srun")
    assert shutil.which("sbatch", path=path) is None
    program = str(Path(sys.executable).with_name("snakemake"))
    ended = subprocess.run(
        [program, "--profile", "slurm", "periodic_fig3", "--config", "scale=smoke"],
        cwd=four_runs.root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert "There is no sbatch on this machine" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("account", ["", "ours"])
def test_an_account_that_is_missing_or_wrong(
    account: str, four_runs: Workspace, cluster: Cluster, tmp_path: Path
) -> None:
    """The test cluster takes any account, so SLURM's words come from a pretend sbatch."""
    if account:
        four_runs.replace(
            "slurm/profile.yaml", "# slurm_account: my_project", f"slurm_account: {account}"
        )
    message = "allocation failure: Invalid account or account/partition combination specified"
    started = snakemake(four_runs, "periodic_fig3", PATH=pretend_sbatch(tmp_path / "bin", message))
    assert started.end() == 1
    expected = "does not take the account 'ours'" if account else "wants an account"
    assert expected in started.printed, started.printed
    assert re.search(r"set 'slurm_account' in line \d+ of slurm/profile.yaml", started.printed)
