"""Watching: what `perigee status` tells of runs, made so for real wherever that can be done."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perigee.planning.layout import Layout
from perigee.planning.plan import Plan, make_plan
from perigee.store.progress import Progress, read_progress, write_progress
from support.workspace import ROOT, Workspace

SHOW = ("-m", "perigee", "status")
ENTRY = re.compile(r"^([a-z]+) +(\S+/e\d+)$", re.M)
"""State and version in the table."""


@dataclass
class Site:
    """A results folder, this checkout's programs, and a PATH without any SLURM."""

    results: Path
    scale: str
    figure: str
    jobs: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout(plan_at(self.scale), str(self.results))

    @property
    def versions(self) -> list[str]:
        return [f.removeprefix("run/") for f in self.layout.plan.of_figures([self.figure]).runs]

    @property
    def environment(self) -> dict[str, str]:
        programs = self.results / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        return {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "PATH": str(programs)}

    def program(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Started, and ended at the latest with the test."""
        job = subprocess.Popen(
            [sys.executable, "-m", "perigee", name, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.jobs.append(job)
        return job

    def build_dataset(self) -> None:
        (folder,) = self.layout.plan.of_figures([self.figure]).datasets
        spec = self.layout.spec(*folder.split("/"))
        out = f"{self.layout.store}/{folder}"
        job = self.program("build-dataset", "--spec", spec, "--out", out)
        assert job.wait(60) == 0

    def train(self, version: str, device: str = "cpu") -> subprocess.Popen[str]:
        """Start the training program as the rule does."""
        layout = self.layout
        options = {
            "--spec": layout.spec("run", version),
            "--out": layout.out("run", version),
            "--device": device,
            "--progress-interval": "0.1",
            "--save-interval": "0.2",
            "--log": layout.run_log(version),
        }
        return self.program("train", *(word for option in options.items() for word in option))

    def show(self, *options: str) -> str:
        """Return what the program prints for the figure."""
        job = self.program(
            "status",
            *(self.figure, "--scale", self.scale, "--results", str(self.results), *options),
        )
        printed, _ = job.communicate(timeout=60)
        assert job.returncode == 0, printed
        return printed

    def states(self) -> dict[str, str]:
        found = ENTRY.findall(self.show())
        assert len(found) == len(dict(map(reversed, found))), "each run once"
        return {version: state for state, version in found}

    def unfinished(self, version: str) -> Path:
        run, _, name = version.partition("/")
        return Path(self.layout.store) / "run" / run / "unfinished" / name

    def until(self, happened: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < end
            time.sleep(0.02)

    def until_epoch(self, version: str, epoch: int) -> None:
        def reached() -> bool:
            progress = read_progress(self.unfinished(version))
            return progress is not None and (progress.epoch or 0) >= epoch

        self.until(reached)


PLANS: dict[str, Plan] = {}


def plan_at(scale: str) -> Plan:
    if scale not in PLANS:
        PLANS[scale] = make_plan(["periodic", "regimes", "smd"], scale)
    return PLANS[scale]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str, str], Site]]:
    made = []

    def make(scale: str, figure: str) -> Site:
        made.append(Site(tmp_path / "results", scale, figure))
        return made[-1]

    yield make
    for job in (job for one in made for job in one.jobs):
        if job.poll() is None:
            job.kill()
            job.wait()


def entry(printed: str, version: str) -> str:
    """The lines below a run, joined."""
    lines = printed.splitlines()
    (start,) = (n for n, line in enumerate(lines) if re.fullmatch(rf"\w+ +{version}", line))
    below = []
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        below.append(line.strip())
    return " ".join(below)


def test_a_run_is_watched_from_nothing_to_its_end(site: Callable[[str, str], Site]) -> None:
    """Waiting, training, killed, told to stop, failed; at laptop scale, which takes a while."""
    at = site("laptop", "periodic_fig4")
    version, *others = at.versions
    epochs = at.layout.run(version).epochs
    assert epochs > 100
    printed = at.show()
    assert set(at.states().values()) == {"waiting"}
    assert entry(printed, version).startswith("for data set digit_pairs-")
    at.build_dataset()
    assert entry(at.show(), version) == "", "nothing to wait for"

    job = at.train(version)
    at.until_epoch(version, 5)
    printed = at.show()
    assert job.poll() is None, "trained too fast to be watched"
    assert f"training     {version}" in printed
    told = re.fullmatch(
        rf"epoch (\d+)/{epochs}, train loss [\d.e-]+, ([\d.e+]+) steps/s, "
        rf"(?:\d+ min )?\d+ s left, process {job.pid} on \S+",
        entry(printed, version),
    )
    assert told, printed
    assert int(told[1]) >= 5
    assert float(told[2]) > 0
    summary, left, *_ = printed.splitlines()
    assert summary == f"{1 + len(others)} runs at laptop scale: {len(others)} waiting, 1 training."
    # Those that wait are of the same shape, so that the one at work tells their time too.
    assert re.match(r"Training time left, of one device: (\d+ (h|min) )?\d+ (min|s)\.", left), left

    at.until(lambda: list(at.unfinished(version).glob("latest.safetensors")))
    job.kill()
    job.wait()
    stopped = entry(at.show(), version)
    assert at.states()[version] == "interrupted"
    told = re.fullmatch(rf"at epoch (\d+) of {epochs}; goes on when started again", stopped)
    assert told, stopped

    epoch = int(told[1])
    job = at.train(version)
    at.until_epoch(version, epoch + 3)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 128 + signal.SIGTERM
    assert at.states()[version] == "interrupted", "and not failed"

    assert at.train(version, device="cuda:77").wait(60) == 1
    printed = at.show()
    assert at.states()[version] == "failed"
    log = at.layout.run_log(version)
    assert f"\n             log: {log}\n" in printed, "whole and by itself"
    assert "cuda:77" in entry(printed, version)
    assert "\033" not in printed
    assert all(len(line) <= 100 for line in printed.splitlines() if str(at.results) not in line)

    job = at.train(version)
    at.until_epoch(version, epoch + 4)
    assert at.states()[version] == "training", "what failed before is over"


QUEUE = """#!/bin/sh
/bin/cat {queue}
"""


def test_the_queue_tells_of_runs_that_no_file_tells_of(site: Callable[[str, str], Site]) -> None:
    at = site("smoke", "periodic_fig7")
    waiting, started, held, first, second, none, *_ = at.versions
    lines = [
        f"11|PENDING|(Resources)|{ROOT}|rule_train_run_wildcards_{waiting}",
        f"12|RUNNING|node1|{ROOT}|rule_train_run_wildcards_{started}",
        f"13|SUSPENDED|node2|{ROOT}|rule_train_run_wildcards_{held}",
        f"14|RUNNING|node3|{ROOT}|rule_0_train_run",
    ]
    queue = at.results / "queue"
    programs = Path(at.environment["PATH"])
    # The plugin joins a job's wildcards, of which the second is the number of its receipt.
    queue.write_text("".join(f"{line.replace('/e4', '_e4_1')}\n" for line in lines))
    script = at.results / "script"
    script.write_text(
        f"#!/bin/sh\nsnakemake --target-jobs 'train_run:version={first},n=1' "
        f"'train_run:version={second},n=1' --allowed-rules 'train_run'\n"
    )
    for name, told in (("squeue", queue), ("scontrol", script)):
        program = programs / name
        program.write_text(QUEUE.format(queue=shlex.quote(str(told))))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    write_progress(at.unfinished(second), Progress(4, 3))

    printed = at.show()
    states = at.states()
    assert [states[v] for v in (waiting, started, held)] == ["queued", "training", "queued"]
    assert [states[v] for v in (first, second, none)] == ["queued", "queued", "waiting"]
    assert entry(printed, waiting) == "job 11 (Resources)"
    assert entry(printed, started) == "starting, job 12 on node1"
    assert entry(printed, held) == "job 13 SUSPENDED node2"
    assert entry(printed, first) == "its turn comes in job 14 on node3"
    assert entry(printed, second).endswith("; goes on from about epoch 3 of 4")

    at.build_dataset()
    assert at.train(waiting).wait(60) == 0
    assert at.states()[waiting] == "done", "whatever the queue says"
    (programs / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error' >&2\nexit 1\n")
    printed = at.show()
    assert "SLURM's queue is left out: squeue failed: slurm_load_jobs error" in printed
    assert len(ENTRY.findall(printed)) == len(at.versions)


def test_it_is_shown_again_until_all_is_done(site: Callable[[str, str], Site]) -> None:
    at = site("smoke", "periodic_fig4")
    (version,) = at.versions
    options = ("--scale", at.scale, "--results", str(at.results), "--every", "0.2")
    watcher = at.program("status", at.figure, *options)
    assert watcher.stdout is not None
    first = next(found for line in watcher.stdout if (found := ENTRY.match(line)))
    assert first[1] == "waiting"
    at.build_dataset()
    assert at.train(version).wait(60) == 0
    printed, _ = watcher.communicate(timeout=30)
    assert watcher.returncode == 0
    states = [state for state, _ in ENTRY.findall(printed)]
    assert states[-1] == "done"
    assert states.count("done") == 1
    assert "\033" not in printed


def test_watching_ends_with_ctrl_c(site: Callable[[str, str], Site]) -> None:
    at = site("smoke", "periodic_fig4")
    options = ("--scale", at.scale, "--results", str(at.results), "--every", "600")
    # Python, unlike a shell, does not make its children deaf to SIGINT.
    watcher = at.program("status", at.figure, *options)
    assert watcher.stdout is not None
    while not ENTRY.match(watcher.stdout.readline()):
        assert watcher.poll() is None
    watcher.send_signal(signal.SIGINT)
    printed, _ = watcher.communicate(timeout=30)
    assert watcher.returncode == 0
    assert "Traceback" not in printed


def test_a_terminal_is_cleared_and_not_overfilled(site: Callable[[str, str], Site]) -> None:
    at = site("smoke", "periodic_fig7")
    master, terminal = pty.openpty()
    command = [sys.executable, *SHOW, at.figure, "--scale", at.scale, "--results", str(at.results)]
    watcher = subprocess.Popen(
        [*command, "--every", "0.2"],
        cwd=ROOT,
        env={**at.environment, "LINES": "9", "COLUMNS": "100", "TERM": "xterm"},
        stdout=terminal,
    )
    at.jobs.append(watcher)
    printed = b""

    def read_on() -> bool:
        nonlocal printed
        if select.select([master], [], [], 0)[0]:
            printed += os.read(master, 10_000)
        assert watcher.poll() is None, printed
        return printed.count(b"\033[2J") >= 3

    at.until(read_on)
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(30) == 0
    os.close(terminal)
    os.close(master)
    first, second = printed.decode().split("\033[2J")[1:3]
    for shown in (first, second):
        lines = shown.replace("\033[H", "").splitlines()
        assert len(lines) == 8
        assert "9 runs at smoke scale: 9 waiting." in lines
        # A line for the time, two for the sum, an empty one; nine runs have two each.
        assert lines[-1] == "... and 15 lines more"


def test_each_run_that_snakemake_would_make_is_listed_once(tmp_path: Path) -> None:
    clone = Workspace.clone(tmp_path / "clone")
    for target, scale in (("everything", "paper"), ("study_label_smoothing", "laptop")):
        planned = clone.snakemake(target, scale=scale, options=("-n",))
        assert planned.returncode == 0, planned.stdout
        jobs = re.findall(r"^Job \d+: train_run (\S+)$", planned.stdout, re.M)
        shown = clone.by_hand("python", *SHOW, target, "--scale", scale)
        assert shown.returncode == 0, shown.stdout
        listed = ENTRY.findall(shown.stdout)
        assert sorted(version for _, version in listed) == sorted(jobs), target
        assert len(set(listed)) == len(listed)
        assert "\033" not in shown.stdout


def test_what_is_no_target_is_refused(site: Callable[[str, str], Site]) -> None:
    at = site("smoke", "periodic_fig99")
    job = at.program("status", at.figure, "--scale", "smoke")
    printed, _ = job.communicate(timeout=30)
    assert job.returncode == 1
    (line,) = printed.splitlines()
    assert "'periodic_fig99' is not a target with runs; known are everything, " in line
    assert "periodic_fig3" in line
