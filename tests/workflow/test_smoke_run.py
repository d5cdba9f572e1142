"""The whole workflow for real at smoke scale, and what its programs do by hand."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from matplotlib import image
from workspace import COMPARED, EPOCHS, LEARNING_RATES, Workspace, sweep_of

KEYS = (
    "periodic_fig2",
    "periodic_fig3",
    "periodic_fig4",
    "periodic_fig6",
    "periodic_appF1",
    "regimes_fig2",
)
TABLES = 2 + 1 + 1 + 2 + 1 + 4
"""Of these figures, in their order."""


def figures(workspace: Workspace) -> Path:
    return workspace.root / "results/smoke/figures"


def seconds_per_epoch(workspace: Workspace, run: str) -> list[float]:
    """Of every training whose run's name begins so."""
    paths = workspace.root.glob(f"results/store/run/{run}*/e*/provenance.json")
    found = [json.loads(path.read_text())["details"] for path in paths]
    return [one["seconds"] / one["trained_epochs"] for one in found if one["trained_epochs"]]


@pytest.mark.parametrize("key", KEYS)
def test_every_figure_is_published_complete(finished: Workspace, key: str) -> None:
    folder = figures(finished)
    assert (folder / f"{key}.pdf").read_bytes().startswith(b"%PDF")
    pixels = image.imread(folder / f"{key}.png")
    assert min(pixels.shape[:2]) > 400
    assert pixels[..., :3].std() > 0.01
    assert len(pd.read_csv(folder / f"{key}.csv")) > 0
    notebook = nbformat.read(folder / f"{key}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)


def test_the_stamp_names_scale_and_deviations(finished: Workspace) -> None:
    notebook = (figures(finished) / "periodic_fig3.ipynb").read_text()
    for part in ("smoke", "dataset digits (paper: cifar10)", "width 4 (paper: 32)"):
        assert part in notebook
    assert "paper: " not in (figures(finished) / "regimes_fig2.ipynb").read_text()


def test_equal_runs_of_several_figures_are_trained_once(finished: Workspace) -> None:
    folders = list((finished.root / "results/store/run").iterdir())
    assert len(folders) == len(LEARNING_RATES) + len(COMPARED)


def test_the_csv_holds_the_plotted_runs(finished: Workspace) -> None:
    plotted = pd.read_csv(figures(finished) / "periodic_fig3.csv")
    assert set(plotted["optimiser.learning_rate"]) == set(LEARNING_RATES)
    for rate, run in plotted.groupby("optimiser.learning_rate"):
        (stored,) = finished.root.glob(f"results/store/run/*-lr{rate:g}-*/e{EPOCHS}")
        metrics = pd.read_parquet(stored / "metrics.parquet")
        assert list(run["epoch"]) == list(range(EPOCHS + 1))
        assert run["train_loss"].to_numpy() == pytest.approx(metrics["train_loss"].to_numpy())


def test_provenance_stands_beside_every_product(finished: Workspace) -> None:
    products = list((finished.root / "results/store").glob("*/[!.]*-*"))
    kinds = Counter(product.parent.name for product in products)
    assert kinds == {
        "dataset": 1,
        "run": len(LEARNING_RATES) + len(COMPARED),
        "predictions": len(COMPARED),
        "table": TABLES,
        "figure": len(KEYS),
        "claims": len(KEYS),
    }
    for product in products:
        (path,) = (p for p in product.rglob("provenance.json") if "spare" not in p.parts)
        provenance = json.loads(path.read_text())
        assert product.name == f"{provenance['name']}-{provenance['digest']}"
        assert set(provenance["files"]) == {f.name for f in path.parent.iterdir()} - {path.name}
        assert provenance["wall_time_s"] > 0
        assert provenance["versions"]["python"]
        assert provenance["hardware"]["cores"]


def test_nothing_is_left_of_the_writing(finished: Workspace) -> None:
    assert not list((finished.root / "results").rglob(".writing-*"))


def test_progress_is_in_the_terminal_and_in_the_log(finished: Workspace, finished_log: str) -> None:
    line = re.compile(
        rf"convnet-digits-lr0.3-wd0.01-seed0: epoch {EPOCHS}/{EPOCHS}, train loss [\d.e-]+, "
        r"test error [\d.]+%, ρ [\d.]+, \d+ steps/s, 0 s left"
    )
    assert line.search(finished_log)
    (log,) = finished.root.glob("results/logs/train_run/*-lr0.3-*/e4.log")
    assert line.search(log.read_text())


def test_a_longer_run_goes_on_and_equals_one_in_one_go(
    workspace: Workspace, tmp_path: Path
) -> None:
    def set_epochs(study: dict) -> None:
        sweep_of(study)["epochs"]["smoke"] = EPOCHS + 2

    workspace.edit_study(set_epochs)
    printed = workspace.make("periodic_fig3")
    assert printed.count(f"continuing after epoch {EPOCHS} of") == len(LEARNING_RATES)
    fresh = workspace.copy(tmp_path / "fresh")

    def only_fig3(study: dict) -> None:
        del study["figures"]["appF1"], study["figures"]["fig4"], study["figures"]["fig6"]

    fresh.edit_study(only_fig3)
    for run in fresh.root.glob("results/store/run/*"):
        shutil.rmtree(run)
    wanted = [p.relative_to(workspace.root) for p in workspace.root.glob("results/store/run/*/e6")]
    assert "continuing" not in fresh.make(*(f"{path}/metrics.parquet" for path in wanted))
    for folder in wanted:
        for name in ("metrics.parquet", "steps.parquet", "state.safetensors"):
            continued, in_one_go = workspace.root / folder / name, fresh.root / folder / name
            assert continued.read_bytes() == in_one_go.read_bytes(), (folder, name)


def test_a_shorter_run_is_read_off(workspace: Workspace) -> None:
    def set_epochs(study: dict) -> None:
        sweep_of(study)["epochs"]["smoke"] = EPOCHS - 1

    workspace.edit_study(set_epochs)
    workspace.make("periodic_fig3")
    for rate in LEARNING_RATES:
        (run,) = workspace.root.glob(f"results/store/run/convnet-digits-lr{rate:g}-*")
        for name, column in (("metrics", "epoch"), ("steps", "step")):
            longer = pd.read_parquet(run / f"e{EPOCHS}" / f"{name}.parquet")
            shorter = pd.read_parquet(run / f"e{EPOCHS - 1}" / f"{name}.parquet")
            pd.testing.assert_frame_equal(shorter, longer.iloc[: len(shorter)])
            assert (
                shorter[column].max()
                == {"epoch": EPOCHS - 1, "step": 12 * (EPOCHS - 1) - 1}[column]
            )


def test_a_run_that_stopped_is_read_off_as_stopped_only_at_its_full_length(
    workspace: Workspace,
) -> None:
    """A run told to have stopped in its last epoch, by the provenance that its reader trusts."""
    (run,) = workspace.root.glob("results/store/run/convnet-digits-lr0.3-*")
    path = run / f"e{EPOCHS}" / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["details"]["stopped_at_step"] = 12 * EPOCHS - 1
    path.write_text(json.dumps(provenance))
    for epochs, expected in ((EPOCHS - 1, None), (EPOCHS, 12 * EPOCHS - 1)):
        out = run / f"e{epochs}0"
        longer = ["--longer", str(run / f"e{EPOCHS}"), "--epochs", str(epochs)]
        result = workspace.by_hand(
            "python", "workflow/scripts/read_off_run.py", *longer, "--out", str(out)
        )
        assert result.returncode == 0, result.stdout
        details = json.loads((out / "provenance.json").read_text())["details"]
        assert details["stopped_at_step"] == expected


def test_the_training_program_runs_by_hand_as_shown(
    workspace: Workspace, finished_log: str
) -> None:
    shown = re.search(r"^Shell command: (.*train\.py.*-lr0\.3-.*)$", finished_log, re.MULTILINE)
    assert shown
    command = shlex.split(shown[1])
    folder = workspace.root / command[command.index("--out") + 1]
    before = (folder / "metrics.parquet").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    result = workspace.by_hand(*command)
    assert result.returncode == 0, result.stdout
    assert (folder / "metrics.parquet").read_bytes() == before


def test_a_program_refuses_a_path_that_its_code_would_not_make(
    workspace: Workspace, finished_log: str
) -> None:
    shown = re.search(r"^Shell command: (.*train\.py.*-lr0\.3-.*)$", finished_log, re.MULTILINE)
    assert shown
    workspace.replace(
        "workflow/perigee/kernel/optimisers/sgd.py",
        "1 - learning_rate * self",
        "1 - 2 * learning_rate * self",
    )
    result = workspace.by_hand(*shlex.split(shown[1]))
    assert result.returncode == 1
    assert "start the workflow again" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(
    "name",
    [
        "build_dataset",
        "train",
        "read_off_run",
        "predict",
        "make_table",
        "draw_figure",
        "judge_claims",
        "gather_claims",
        "write_pages",
    ],
)
def test_help_tells_every_option(finished: Workspace, name: str) -> None:
    result = finished.run("python", f"workflow/scripts/{name}.py", "--help")
    assert result.returncode == 0
    options = re.findall(r"(--[a-z-]+)", result.stdout)
    assert {"--out", "--log", "--help"} <= set(options)
    assert "Traceback" not in result.stdout


def test_a_program_refuses_another_checkouts_library(
    workspace: Workspace, finished: Workspace
) -> None:
    result = workspace.run(
        "python", "workflow/scripts/clean_store.py", PYTHONPATH=str(finished.root / "workflow")
    )
    assert result.returncode == 1
    assert f"perigee is imported from {finished.root}" in result.stdout
    assert "Traceback" not in result.stdout


def test_what_nothing_refers_to_is_listed_and_removed_when_told(workspace: Workspace) -> None:
    def drop(study: dict) -> None:
        sweep_of(study)["sweep"]["optimiser.learning_rate"]["smoke"] = [0.1]
        del study["figures"]["appF1"], study["figures"]["fig6"]

    (workspace.root / "config/studies/label_smoothing.yaml").unlink()  # shares a run with fig3
    clean = ("python", "workflow/scripts/clean_store.py")
    assert "0 folders" in workspace.by_hand(*clean).stdout
    workspace.edit_study(drop)
    runs = workspace.root / "results/store/run"
    listed = workspace.by_hand(*clean)
    assert listed.returncode == 0, listed.stdout
    for rate in LEARNING_RATES:
        assert (f"-lr{rate:g}-" in listed.stdout) == (rate != 0.1)
    assert len(list(runs.iterdir())) == len(LEARNING_RATES) + len(COMPARED)
    removed = workspace.by_hand(*clean, "--remove", "--yes")
    assert removed.returncode == 0, removed.stdout
    assert [path.name.split("-")[2] for path in runs.iterdir()] == ["lr0.1"]
    assert "0 folders" in workspace.by_hand(*clean).stdout


def test_a_failing_notebook_is_kept_as_far_as_it_came(workspace: Workspace) -> None:
    workspace.replace(
        "workflow/notebooks/regimes_fig2.py",
        "save_figure(figure, values, folder, stamp)",
        'raise ValueError("no ink")',
    )
    result = workspace.snakemake("regimes_fig2")
    assert result.returncode != 0
    told = [line for line in result.stdout.splitlines() if line.startswith("draw_figure.py: ")]
    assert len(told) == 1
    assert "ValueError: no ink" in told[0]
    (kept,) = workspace.root.glob("results/logs/draw_figure/regimes_fig2-*.ipynb")
    assert str(kept.relative_to(workspace.root)) in told[0]
    assert "no ink" in kept.read_text()


def test_a_dry_run_does_not_import_torch(finished: Workspace) -> None:
    command = ["python", "-X", "importtime", "-m", "snakemake", "-n", "all_figures"]
    result = finished.run(*command, "--config", "scale=smoke")
    assert result.returncode == 0
    imported = re.findall(r"\|\s+([\w.]+)$", result.stdout, flags=re.MULTILINE)
    assert "perigee.plan" in imported
    assert "torch" not in imported


def test_the_plan_tells_what_would_be_trained_and_what_it_costs(workspace: Workspace) -> None:
    def row(printed: str, name: str) -> list[str]:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"│ {name} ")]
        return [cell.strip() for cell in line.strip("│").split("│")][1:]

    assert row(workspace.make("plan"), "all, shared runs once") == ["0", "0", "0", "0.00", "0.0"]

    def two_more(study: dict) -> None:
        sweep_of(study)["sweep"]["optimiser.learning_rate"]["smoke"] = [*LEARNING_RATES, 0.5, 1]
        sweep_of(study, "appF1")["epochs"]["smoke"] = 1000

    workspace.edit_study(two_more)
    printed = workspace.make("plan")
    # 1,437 images are 12 mini-batches; the longer runs of appF1 go on after their 4 epochs.
    assert row(printed, "periodic_fig3")[:3] == ["2", "8", "96"]
    assert row(printed, "periodic_appF1")[:3] == ["4", "3,984", "47,808"]
    assert row(printed, "all, shared runs once")[:3] == ["6", "3,992", "47,904"]
    measured = seconds_per_epoch(workspace, "convnet-digits-")
    hours = float(row(printed, "periodic_appF1")[3])
    assert min(measured) * 3984 / 3600 - 0.01 < hours < max(measured) * 3984 / 3600 + 0.01
    assert "as measured on" in printed
    assert workspace.jobs() != set(), "planning makes nothing"

    of_one_figure = workspace.make("plan", "periodic_fig3")
    assert "periodic_appF1" not in of_one_figure.partition("To be trained")[2]
    assert row(of_one_figure, "all, shared runs once")[:3] == ["2", "8", "96"]
    assert "periodic_appF1" in workspace.make("plan", "periodic").partition("To be trained")[2]
    assert "train_run" not in of_one_figure, "what is named beside the plan is not made"
    refused = workspace.snakemake("plan", "results/smoke/claims.csv")
    assert refused.returncode != 0
    assert "'plan' cannot plan 'results/smoke/claims.csv'" in refused.stdout

    at_paper_scale = workspace.make("plan", scale="paper")
    assert row(at_paper_scale, "periodic_fig3")[:4] == ["9", "9,000", "3,519,000", "?"]
    assert "No finished run tells the time" in at_paper_scale


def test_paper_scale_is_planned_as_in_the_paper(finished: Workspace) -> None:
    jobs = finished.jobs("periodic_fig3", scale="paper")
    runs = {job for job in jobs if job.startswith("train_run")}
    # Those of learning rate 0.03 keep checkpoints for fig6, and fig3's are read off them.
    versions = {"0.001": "e1000", "0.01": "e1000", "0.03": "e1000-every2", "1": "e1000"}
    assert runs == {
        f"train_run convnet-cifar10-lr{rate}-wd0.001-seed{seed}/{version}"
        for rate, version in versions.items()
        for seed in (0, 1, 2)
    }
    assert "build_dataset cifar10" in jobs


def test_the_slurm_profile_brings_the_paper_scale_and_a_further_config_wins(
    finished: Workspace,
) -> None:
    for options, dataset in (((), "cifar10"), (("--config", "scale=laptop"), "digits")):
        result = finished.run("snakemake", "--profile", "slurm", "-n", "all_figures", *options)
        assert result.returncode == 0, result.stdout
        assert f"train_run convnet-{dataset}-" in result.stdout
