"""The status of runs from the files that jobs leave; tests/workflow has tests with real jobs."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from perigee.planning.costs import Record, Source
from perigee.planning.layout import Layout
from perigee.planning.shapes import canonical, of_steps, shape_of
from perigee.planning.status import RunStatus, State, statuses, time_left
from perigee.store.locks import locked
from perigee.store.progress import PROGRESS, Progress, write_progress
from support.planning import Project

ELSEWHERE = Progress(4, 2, next_within=10, machine="node7", process=5, job="17")
FIGURES = ("periodic_fig3",)


def look(layout: Layout, version: str) -> RunStatus:
    """The status of a run of figure 3, each of which is listed once."""
    (found,) = (status for status in statuses(layout, FIGURES) if status.version == version)
    return found


def versions(project: Project) -> list[str]:
    return [run.name for run in project.layout().plan.of_figures(FIGURES).runs.values()]


def folder_of(project: Project, version: str) -> Path:
    return project.store / "run" / version.partition("/")[0]


def unfinished(project: Project, version: str) -> Path:
    return folder_of(project, version) / "unfinished" / version.partition("/")[2]


def test_a_run_is_done_with_all_measures(made: Project) -> None:
    version, *_ = versions(made)
    assert look(made.layout(), version) == RunStatus(version, State.DONE)
    for measure in (made.store / "run" / version).glob("metrics-*"):
        shutil.rmtree(measure)
    found = look(made.layout(), version)
    assert found.state is State.WAITING
    assert found.detail == "for measures that the finished run lacks"


def test_a_process_at_work_on_one_length_is_not_at_work_on_the_others(made: Project) -> None:
    run = made.sweep("fig3")
    run["sweep"]["optimiser.learning_rate"] = [0.3]
    run["epochs"] = 5
    again = {**run, "label": "longer", "epochs": 6}
    run["label"] = "shorter"
    made.periodic["figures"]["fig3"]["runs"]["again"] = again
    made.table("fig3")["runs"].append("again")
    shorter, longer = versions(made)

    write_progress(unfinished(made, longer), Progress(6, 2))
    assert look(made.layout(), longer).state is State.INTERRUPTED
    with locked(folder_of(made, longer)):
        os.utime(unfinished(made, longer) / PROGRESS, (1, 1))
        assert look(made.layout(), longer).state is State.INTERRUPTED, "noted by an earlier process"
        write_progress(unfinished(made, longer), Progress(6, 3))
        assert look(made.layout(), longer).state is State.TRAINING
        assert look(made.layout(), shorter).state is State.WAITING
    assert look(made.layout(), longer).state is State.INTERRUPTED


def test_where_the_lock_cannot_be_seen_what_was_noted_lately_counts(project: Project) -> None:
    """Some file systems show a lock only to the machine that took it."""
    version, *_ = versions(project)
    noted = unfinished(project, version)
    holder = noted.parents[1] / ".lock-holder"

    def note(progress: Progress, seconds_ago: float = 0) -> RunStatus:
        write_progress(noted, progress)
        moment = time.time() - seconds_ago
        os.utime(noted / PROGRESS, (moment, moment))
        return look(project.layout(), version)

    assert note(ELSEWHERE).state is State.INTERRUPTED, "its process has taken its leave"
    holder.write_text("process 5 on node7 since 2026-11-20 12:00:00")
    found = note(ELSEWHERE)
    assert found.state is State.TRAINING
    assert found.detail == "epoch 2/4, job 17 on node7"
    found = note(replace(ELSEWHERE, steps_per_second=6.0, seconds_left=50.0), seconds_ago=20)
    assert found.seconds_left == pytest.approx(30, abs=10), "time has passed since"
    assert found.seconds_per_epoch == 25, "two epochs in 50 s"
    assert note(ELSEWHERE, seconds_ago=40).state is State.TRAINING
    assert note(ELSEWHERE, seconds_ago=60).state is State.INTERRUPTED
    record = Path(project.layout().run_log(version)).with_suffix(".failed.json")
    record.parent.mkdir(parents=True)
    note(ELSEWHERE)
    record.write_text('{"reason": "no luck", "exit_status": 1}')
    assert look(project.layout(), version).state is State.FAILED
    record.unlink()
    here = replace(ELSEWHERE, machine=os.uname().nodename)
    assert note(here).state is State.INTERRUPTED, "here the lock would be seen"


def test_the_time_of_a_run_stopped_half_way_is_half(project: Project) -> None:
    run = project.sweep("fig3")
    run["sweep"] = {"seed": [0, 1, 2]}
    run["epochs"] = 400
    layout = project.layout()
    training, stopped, waiting = versions(project)
    found = [
        RunStatus(training, State.TRAINING, epoch=300, seconds_left=50.0, seconds_per_epoch=0.5),
        RunStatus(stopped, State.INTERRUPTED, epoch=200),
        RunStatus(waiting, State.WAITING),
    ]
    seconds, unknown = time_left(layout, found, [])
    assert seconds == pytest.approx(50 + 0.5 * 200 + 0.5 * 400)
    assert unknown == 0
    assert time_left(layout, found[1:], []) == (0, 2)


def test_a_calibration_tells_the_time_left_and_a_guess_does_not(project: Project) -> None:
    layout = project.layout()
    version = versions(project)[0]
    run = layout.run(version)
    told = [measure.to_dict() for measure in run.measures]
    measures = (canonical(told), of_steps(told))
    shape = shape_of(run.spec.to_dict())
    waiting = [RunStatus(version, State.WAITING)]
    for source, expected in ((Source.CALIBRATION, (4 * 0.5, 0)), (Source.GUESS, (0, 1))):
        known = Record(shape, 0.5, None, "a card", None, source, measures)
        assert time_left(layout, waiting, [known]) == expected
