"""The whole workflow for real at smoke scale, and what its programs do by hand."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from support.workspace import (
    COMPARED,
    EPOCHS,
    FIGURES,
    LEARNING_RATES,
    STEPS,
    Workspace,
    sweep_of,
)

KEYS = [f"periodic_{figure}" for figure in FIGURES]
TABLES = 2 + 4 + 4 + 6
"""The numbers of tables of these figures, in their order."""

TRAIN = re.compile(r"^Shell command: (.*perigee train .*-lr0\.3-.*)$", re.MULTILINE)


def figures(workspace: Workspace) -> Path:
    return workspace.root / "results/smoke/figures"


def details_of(product: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((product / "provenance.json").read_text())["details"]
    return found


@pytest.mark.parametrize("key", KEYS)
def test_every_figure_is_published_complete(finished: Workspace, key: str) -> None:
    folder = figures(finished)
    for pdf in (f"{key}.pdf", f"{key}_paper_width.pdf"):
        assert (folder / pdf).read_bytes().startswith(b"%PDF")
    pixels = image.imread(folder / f"{key}.png")
    assert min(pixels.shape[:2]) > 400
    assert pixels[..., :3].std() > 0.01
    assert len(pd.read_csv(folder / f"{key}.csv")) > 0
    notebook = nbformat.read(folder / f"{key}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)


def test_the_csv_holds_the_plotted_runs(finished: Workspace) -> None:
    plotted = pd.read_csv(figures(finished) / "periodic_fig3.csv")
    assert set(plotted["optimiser.learning_rate"]) == set(LEARNING_RATES)
    for rate, run in plotted.groupby("optimiser.learning_rate"):
        rows = np.load(finished.store(f"run/*-lr{rate:g}-*/e{EPOCHS}/metrics-*/rows.npy"))
        assert list(run["epoch"]) == list(range(EPOCHS + 1))
        assert run["train_loss"].to_numpy() == pytest.approx(rows["train_loss"])


def test_provenance_stands_beside_every_product(finished: Workspace) -> None:
    """Equal runs of several figures are trained once, with all measures that they ask for."""
    found = sorted((finished.root / "results/store").rglob("provenance.json"))
    kinds: Counter[str] = Counter()
    for path in found:
        provenance = json.loads(path.read_text())
        kinds[provenance["kind"]] += 1
        product = path.parents[1] if provenance["kind"] == "run" else path.parent
        assert product.name == f"{provenance['name']}-{provenance['digest']}"
        files = {file.name for file in path.parent.iterdir() if file.is_file()}
        assert set(provenance["files"]) == files - {path.name}
        # Measures are taken while their run trains; theirs is the time of writing.
        assert provenance["wall_time_s"] > 0 or provenance["kind"] == "measure"
        assert provenance["versions"]["python"]
        assert provenance["hardware"]["cores"]
    runs = len(LEARNING_RATES) + len(COMPARED)
    assert kinds == {
        "dataset": 1,
        "run": runs,
        # Metrics of all, steps of figure 3, whose run is that of figure 4, and checkpoints.
        "measure": runs + len(LEARNING_RATES) + len(COMPARED),
        "evaluation": len(COMPARED),
        "table": TABLES,
        "figure": len(KEYS),
        "claims": len(KEYS),
    }


def test_nothing_is_left_of_the_writing(finished: Workspace) -> None:
    results = finished.root / "results"
    assert not list(results.rglob(".writing-*"))
    assert not list(results.rglob("unfinished"))


def test_progress_is_in_the_terminal_and_in_the_log(finished: Workspace, finished_log: str) -> None:
    line = re.compile(
        rf"convnet-digits-lr0.3-wd0.01-seed10: epoch {EPOCHS}/{EPOCHS}, train loss [\d.e-]+, "
        r"test error [\d.]+%, ρ [\d.]+, \d+ steps/s, 0 s left"
    )
    assert line.search(finished_log)
    (log,) = finished.root.glob("results/logs/train_run/*-lr0.3-*/e4.1.log")
    assert line.search(log.read_text())


def test_a_run_has_stopped_only_where_a_table_reads_the_step(workspace: Workspace) -> None:
    """One told to have stopped in its last epoch, by the provenance that its reader trusts."""
    path = workspace.store(f"run/convnet-digits-lr0.3-*/e{EPOCHS}/provenance.json")
    provenance = json.loads(path.read_text())
    provenance["details"]["stopped_at_step"] = STEPS * EPOCHS - 1
    path.write_text(json.dumps(provenance))
    (spec,) = workspace.root.glob("results/specs/table/periodic_fig3-runs-*.json")
    told = json.loads(spec.read_text())
    for epochs, expected in ((EPOCHS - 1, set()), (EPOCHS, {0.3})):
        for run in told["runs"]:
            run["epochs"] = epochs
        out = workspace.root / f"table-{epochs}"
        program = ("python", "-m", "perigee", "make-table")
        made = workspace.by_hand(*program, "--spec", json.dumps(told), "--out", str(out))
        assert made.returncode == 0, made.stdout
        table = pd.read_parquet(out / "table.parquet")
        assert table["epoch"].max() == epochs
        assert set(table.loc[table["stopped"], "optimiser.learning_rate"]) == expected


def test_the_training_program_runs_by_hand_as_shown(
    workspace: Workspace, finished_log: str
) -> None:
    shown = TRAIN.search(finished_log)
    assert shown
    command = shlex.split(shown[1])
    folder = workspace.root / command[command.index("--out") + 1]
    names = ("losses.npy", "weights.npy", "state.safetensors")
    before = [(folder / name).read_bytes() for name in names]
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    result = workspace.by_hand(*command)
    assert result.returncode == 0, result.stdout
    assert [(folder / name).read_bytes() for name in names] == before

    # With other code it is not the product that the path was named for.
    workspace.replace(
        "workflow/perigee/kernel/optimisers/sgd.py",
        "values.mul_(1 - learning_rate * self",
        "values.mul_(1 - 2 * learning_rate * self",
    )
    refused = workspace.by_hand(*command)
    assert refused.returncode == 1
    assert "start the workflow again" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_a_program_refuses_another_checkouts_library(
    workspace: Workspace, finished: Workspace
) -> None:
    result = workspace.run(
        "python", "-m", "perigee", "store", "clean", PYTHONPATH=str(finished.root / "workflow")
    )
    assert result.returncode == 1
    assert f"perigee is imported from {finished.root}" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_failing_notebook_is_kept_as_far_as_it_came(workspace: Workspace) -> None:
    notebook = workspace.root / "workflow/notebooks/periodic_fig2.py"
    notebook.write_text(notebook.read_text() + '\n# %%\nraise ValueError("no ink")\n')
    result = workspace.snakemake("periodic_fig2")
    assert result.returncode != 0
    told = [line for line in result.stdout.splitlines() if line.startswith("perigee draw-figure: ")]
    assert len(told) == 1
    assert "ValueError: no ink" in told[0]
    (kept,) = workspace.root.glob("results/logs/draw_figure/periodic_fig2-*.ipynb")
    assert str(kept.relative_to(workspace.root)) in told[0]
    assert "no ink" in kept.read_text()


def test_a_dry_run_does_not_import_torch(finished: Workspace) -> None:
    command = ["python", "-X", "importtime", "-m", "snakemake", "-n", "all_figures"]
    result = finished.run(*command, "--config", "scale=smoke")
    assert result.returncode == 0
    imported = re.findall(r"\|\s+([\w.]+)$", result.stdout, flags=re.MULTILINE)
    assert "perigee.planning.plan" in imported
    assert "torch" not in imported


def test_the_plan_tells_what_would_be_trained_and_what_it_costs(workspace: Workspace) -> None:
    def row(printed: str, name: str) -> list[str]:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"│ {name} ")]
        return [cell.strip() for cell in line.strip("│").split("│")][1:]

    def edit(study: dict[str, Any]) -> None:
        sweep_of(study)["sweep"]["optimiser.learning_rate"].update(more=0.5, most=1)
        sweep_of(study, "fig4")["epochs"] = 1000

    def ask_for_more(study: dict[str, Any]) -> None:
        analysis = study["figures"]["fig3"]["tables"]["runs"]["analysis"]
        analysis["further"] = ["full_gradient_norm"]

    def plan(*figures: str) -> str:
        program = ("python", "-m", "perigee", "plan", "--scale", "smoke")
        shown = workspace.by_hand(*program, *figures)
        assert shown.returncode == 0, shown.stdout
        return shown.stdout

    workspace.edit_paper(edit)
    printed = plan()
    # Figure 4's run goes on after its 4 epochs.
    assert row(printed, "periodic_fig3")[:3] == ["2", "8", "96"]
    assert row(printed, "periodic_fig4")[:3] == ["1", "996", "11,952"]
    assert row(printed, "periodic_fig6") == ["0", "0", "0", "0.00", "0.0"]
    assert row(printed, "all, shared runs once")[:3] == ["3", "1,004", "12,048"]
    runs = workspace.root.glob(f"results/store/run/*/e{EPOCHS}")
    measured = [one["seconds"] / EPOCHS for one in map(details_of, runs)]
    hours = float(row(printed, "periodic_fig4")[3])
    assert min(measured) * 996 / 3600 - 0.01 < hours < max(measured) * 996 / 3600 + 0.01
    assert "as measured on" in printed
    assert workspace.jobs() != set(), "planning makes nothing"

    of_one_figure = workspace.make("plan", "periodic_fig3")
    assert "periodic_fig4" not in of_one_figure.partition("To be trained")[2]
    assert row(of_one_figure, "all, shared runs once")[:3] == ["2", "8", "96"]
    assert "train_run" not in of_one_figure, "what is named beside the plan is not made"
    refused = workspace.snakemake("plan", "results/smoke/claims.csv")
    assert refused.returncode != 0
    assert "'plan' cannot plan 'results/smoke/claims.csv'" in refused.stdout

    workspace.edit_paper(ask_for_more)
    replayed = plan("periodic_fig3")
    assert row(replayed, "periodic_fig3")[:3] == ["6", "24", "288"], "replays count"
    assert "4 of them are finished, and trained again for missing measures." in replayed


def test_paper_scale_is_planned_as_in_the_paper(tmp_path: Path) -> None:
    clone = Workspace.clone(tmp_path / "clone")
    options = ("--profile", "slurm", "-n")
    result = clone.run("snakemake", *options, "periodic_fig3")
    assert result.returncode == 0, result.stdout
    runs = re.findall(r"^Job \d+: train_run (\S+)-[0-9a-f]+/e1000$", result.stdout, re.M)
    assert sorted(runs) == sorted(
        f"convnet-cifar10-lr{rate}-wd0.001-seed{seed}"
        for rate in ("0.001", "0.01", "0.03", "1")
        for seed in (10, 11, 12)
    )
    assert "build_dataset cifar10" in result.stdout
    laptop = clone.run("snakemake", *options, "periodic_fig3", "--config", "scale=laptop")
    assert "train_run convnet-digit_pairs-" in laptop.stdout, "a further config wins"
