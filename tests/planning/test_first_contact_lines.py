"""The lines of `quickstart.py figures` on each figure, and the order in which figures are made."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from perigee import quickstart
from perigee.quickstart import Board, Line, Printer, in_turn
from perigee.store.figures import published_figure
from perigee.store.locks import locked
from perigee.store.progress import Progress, write_progress
from support.planning import Project

KEYS = [f"periodic_fig{number}" for number in (2, 3, 4, 5, 6)]


def board_of(project: Project, cores: int = 2) -> Board:
    return Board(project.layout().plan, project.store.parent, cores)


def publish(board: Board, key: str) -> None:
    """Files as if the figure were published in the version planned."""
    publication = published_figure(board.folder / "figures", key)
    publication.paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path in publication.paths:
        path.write_text("")
    publication.confirm(board.plan.figures[key].identity.digest)


def test_a_computed_figure_the_first_to_train_for_and_the_rest(project: Project) -> None:
    board = board_of(project)
    assert in_turn(board) == [["periodic_fig2"], ["periodic_fig3"], ["report"]]
    publish(board, "periodic_fig2")
    assert in_turn(board) == [["periodic_fig3"], ["report"]]
    publish(board, "periodic_fig3")
    assert in_turn(board) == [["report"]]
    other = Board(board.plan.of_figures(["periodic_fig4"]), board.results, 2)
    assert in_turn(other) == [["report"]]


def test_what_is_not_measured_is_not_guessed(project: Project) -> None:
    board = board_of(project)
    board.turn = frozenset(["periodic_fig2"])
    lines = board.lines()
    assert list(lines) == [*KEYS, "all figures"]
    assert lines["periodic_fig2"] == Line("is computed", "no training")
    assert lines["periodic_fig3"] == Line("waits", "0 of 2 runs trained, time unknown yet")
    assert lines["all figures"] == Line("0 of 5 drawn", "time unknown yet")


def test_time_is_told_by_the_runs_at_work(project: Project) -> None:
    board = board_of(project)
    version = next(iter(board.plan.of_figures(["periodic_fig4"]).runs.values())).name
    run, _, epochs = version.partition("/")
    folder = project.store / "run" / run
    with locked(folder):
        write_progress(folder / "unfinished" / epochs, Progress(4, 2, seconds_left=50.0))
        lines = board.lines()
    # 50 s of this run, and of the other, which is like it, four epochs of 25 s each.
    assert lines["periodic_fig4"].state == "trains"
    assert lines["periodic_fig4"].detail.startswith("0 of 1 runs trained, 1 at work, about ")
    assert lines["periodic_fig4"].detail.endswith(
        ("50 s of training left", "49 s of training left")
    )
    assert lines["periodic_fig3"].detail.endswith(
        ("2 min 30 s of training left", "2 min 29 s of training left")
    )


def test_time_is_shared_by_as_many_as_work_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "time_left", lambda *_: (120.0, 0))
    for cores, told in ((1, "2 min 00 s"), (2, "1 min 00 s"), (16, "1 min 00 s")):
        detail = board_of(project, cores).lines()["periodic_fig3"].detail
        assert detail == f"0 of 2 runs trained, about {told} of training left"


def test_trained_runs_are_drawn_in_their_turn(made: Project) -> None:
    board = board_of(made)
    assert board.lines()["periodic_fig3"] == Line("waits", "2 of 2 runs trained")
    board.turn = frozenset(["periodic_fig3"])
    assert board.lines()["periodic_fig3"] == Line("is evaluated and drawn", "2 of 2 runs trained")
    publish(board, "periodic_fig3")
    picture = board.folder / "figures/periodic_fig3.png"
    assert board.lines()["periodic_fig3"] == Line("drawn", str(picture))
    assert board.lines()["all figures"] == Line("1 of 5 drawn")
    for key in KEYS:
        publish(board, key)
    assert board.lines()["all figures"] == Line("5 of 5 drawn", "claims and report are being made")


def test_a_line_is_printed_when_it_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    moment = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: moment)
    renewed: list[int] = []
    monkeypatch.setattr(quickstart, "write_index", lambda board: renewed.append(1))
    lines = {"periodic_fig3": Line("trains", "1 of 12")}
    board = board_of(project)
    monkeypatch.setattr(board, "lines", lambda: lines)
    printer = Printer(board, Console(file=written, soft_wrap=True))

    def said() -> str:
        written.seek(0)
        written.truncate()
        with printer.showing():
            printer.show()
        return written.getvalue()

    assert said() == "periodic_fig3 trains: 1 of 12\n"
    assert said() == ""
    lines["periodic_fig3"] = Line("trains", "2 of 12")
    assert said() == "", "said a moment ago"
    moment += 31
    assert said() == "periodic_fig3 trains: 2 of 12\n"
    moment += 31
    assert said() == "", "nothing new"
    assert len(renewed) == 1
    lines["periodic_fig3"] = Line("drawn", "a.png")
    assert said() == "periodic_fig3 drawn: a.png\n"
    assert len(renewed) == 2, "the page of figures shows it"


def test_a_terminal_shows_every_line_once(project: Project) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, highlight=False)
    printer = Printer(board_of(project), console)
    with printer.showing():
        printer.show()
        printer.show()
    last = written.getvalue().rpartition("\x1b[2K")[2]
    assert [key in last for key in [*KEYS, "all figures"]] == [True] * 6


def test_paths_are_shown_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "HERE", tmp_path)
    assert quickstart.shown(tmp_path / "results/a b.png") == "results/a b.png"
    assert quickstart.shown(tmp_path.parent / "other") == str(tmp_path.parent / "other")
