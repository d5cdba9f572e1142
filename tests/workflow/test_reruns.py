"""Change one value: exactly what depends on it runs, by real Snakemake.

tests/planning/test_outstanding.py goes through the many cases; here are those that Snakemake has a
part in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perigee.store.provenance import checksum
from support.workspace import (
    COMPARED,
    EPOCHS,
    FIGURES,
    LEARNING_RATES,
    STEPS,
    Workspace,
    figure_jobs,
    sweep_of,
    training_jobs,
)

FIG3 = figure_jobs("fig3")
PUBLISHED = {f"publish_figure periodic_{figure}" for figure in FIGURES}
PDF = "results/smoke/figures/periodic_fig3.pdf"


def plotted_rates(workspace: Workspace) -> set[float]:
    plotted = pd.read_csv(workspace.root / PDF.replace(".pdf", ".csv"))
    return set(plotted["optimiser.learning_rate"])


@pytest.mark.parametrize("order", [1, -1], ids=["touched as listed", "touched in reverse"])
def test_nothing_changed(order: int, workspace: Workspace) -> None:
    assert workspace.jobs("everything") == set()
    now = time.time()
    files = sorted(path for path in workspace.root.rglob("*") if path.is_file())
    for age, path in enumerate(files[::order]):
        os.utime(path, (now - age, now - age))
    assert workspace.jobs("everything") == set()
    workspace.lose_metadata()
    assert workspace.jobs("everything") == set()


def test_a_clone_with_the_results_or_the_store_copied_in(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The copies have no time stamps, as with rsync without --times."""
    clone = Workspace(tmp_path / "elsewhere" / "clone")
    ignored = shutil.ignore_patterns(".snakemake", "__pycache__")
    shutil.copytree(workspace.root, clone.root, ignore=ignored, copy_function=shutil.copyfile)
    assert clone.jobs("everything") == set()
    for path in (clone.root / "results").iterdir():
        if path.name != "store":
            shutil.rmtree(path)
    assert clone.jobs("everything") == {*PUBLISHED, "gather_claims", "write_pages"}


def test_one_learning_rate_changed_and_restored(workspace: Workspace) -> None:
    first = (workspace.root / PDF).read_bytes()
    workspace.set_learning_rates(0.03, 0.2, 0.3, 3)
    expected = training_jobs(0.2) | FIG3
    assert workspace.jobs() == expected
    assert workspace.jobs(PDF) == expected, "a published path is as good as the target"
    assert workspace.jobs("periodic_fig4") == set()
    workspace.make()
    assert plotted_rates(workspace) == {0.03, 0.2, 0.3, 3}
    assert workspace.jobs() == set()

    workspace.set_learning_rates(*LEARNING_RATES)
    workspace.lose_metadata()
    assert workspace.jobs() == {"publish_figure periodic_fig3"}
    workspace.make()
    assert (workspace.root / PDF).read_bytes() == first


def test_epochs_raised_and_lowered(workspace: Workspace) -> None:
    def epochs_plotted() -> int:
        return pd.read_csv(workspace.root / PDF.replace(".pdf", ".csv"))["epoch"].max()

    workspace.set_learning_rates(0.1, 0.3)
    workspace.set_epochs(EPOCHS + 1)
    assert workspace.jobs() == training_jobs(0.1, 0.3, epochs=EPOCHS + 1) | FIG3
    printed = workspace.make()
    assert printed.count(f"continuing after epoch {EPOCHS} of") == 2
    assert epochs_plotted() == EPOCHS + 1
    for run in workspace.root.glob("results/store/run/*-lr0.[13]-*"):
        shorter, longer = (
            np.load(run / f"e{epochs}" / "losses.npy") for epochs in (EPOCHS, EPOCHS + 1)
        )
        assert np.array_equal(longer[: STEPS * EPOCHS], shorter)
        assert len(longer) == STEPS * (EPOCHS + 1)

    workspace.set_epochs(EPOCHS - 1)
    assert workspace.jobs() == FIG3, "read off the longer runs"
    workspace.make()
    assert epochs_plotted() == EPOCHS - 1
    assert workspace.jobs() == set()


def test_the_update_rule_changed(workspace: Workspace) -> None:
    """Every run uses it; fig2 and the data set stay."""
    workspace.replace(
        "workflow/perigee/kernel/optimisers/sgd.py",
        "values.mul_(1 - learning_rate * self.weight_decay)",
        "values.mul_(1 - 2 * learning_rate * self.weight_decay)",
    )
    compared = {
        job
        for run in COMPARED
        for job in (f"train_run {run}/e{EPOCHS}", f"evaluate_run predictions-{run}")
    }
    drawn = (FIG3, figure_jobs("fig4"), figure_jobs("fig6"))
    assert workspace.jobs() == training_jobs(*LEARNING_RATES).union(compared, *drawn)


def test_receipts_mean_nothing_by_themselves(workspace: Workspace) -> None:
    receipts = workspace.root / "results/receipts"
    (earlier,) = receipts.glob("figure/periodic_fig2-*.1")
    shutil.rmtree(workspace.store("figure/periodic_fig2-*"))
    for path in workspace.root.glob("results/smoke/figures/periodic_fig2.*"):
        path.unlink()
    drawn = {"draw_figure periodic_fig2", "publish_figure periodic_fig2"}
    assert workspace.jobs("everything") == {*drawn, "write_pages"}
    workspace.make("everything")
    assert earlier.with_suffix(".2").exists(), "a name that was not used before"
    shutil.rmtree(receipts)
    assert workspace.jobs("everything") == set()


def test_a_run_and_its_data_set_deleted(workspace: Workspace) -> None:
    shutil.rmtree(workspace.store("run/convnet-digits-lr0.1-*"))
    shutil.rmtree(workspace.root / "results/store/dataset")
    assert workspace.jobs() == set(), "the figures that were made of them are still right"
    workspace.set_learning_rates(*LEARNING_RATES, 0.5)
    assert workspace.jobs() == {"build_dataset digits"} | training_jobs(0.1, 0.5) | FIG3


def test_a_published_figure_overwritten_by_hand(workspace: Workspace) -> None:
    pdf = workspace.root / PDF
    before = pdf.read_bytes()
    pdf.write_bytes(b"something else")
    assert workspace.jobs() == {"publish_figure periodic_fig3"}
    workspace.make()
    assert pdf.read_bytes() == before


def test_a_dry_run_where_no_result_may_be_written(workspace: Workspace) -> None:
    results = workspace.root / "results"
    shutil.rmtree(results / "specs")
    folders = [results, *(path for path in results.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    # Root may write all the same, unless it gives up its capabilities.
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if not os.geteuid() else ()
    try:
        for target, expected in (("everything", 0), ("study_label_smoothing", 2)):
            planned = workspace.run(
                *powerless, "snakemake", "-n", target, "--config", "scale=smoke"
            )
            assert planned.returncode == 0, planned.stdout
            assert len(re.findall(r"^Job \d+: train_run", planned.stdout, re.M)) == expected
        assert not (results / "specs").exists()
        really = workspace.run(*powerless, "snakemake", "everything", "--config", "scale=smoke")
        assert "'results' is 'results', but no file can be written in results" in really.stdout
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_job_that_snakemake_takes_for_failed_loses_nothing(workspace: Workspace) -> None:
    """Snakemake deletes the receipt of a job that is killed after its product is complete."""
    workspace.set_learning_rates(0.2)
    mark = workspace.root / "failed-once"
    workspace.hook("train", "fail", message="too late", once=str(mark), at_the_end=True)
    failed = workspace.snakemake("periodic_fig3")
    assert failed.returncode != 0
    assert "too late" in failed.stdout
    run = workspace.store(f"run/convnet-digits-lr0.2-*/e{EPOCHS}")
    receipts = workspace.root / f"results/receipts/run/{run.parent.name}"
    assert not list(receipts.glob("*"))
    before = (run / "provenance.json").read_bytes()
    assert workspace.jobs() == FIG3
    workspace.make()
    assert (run / "provenance.json").read_bytes() == before


def ask_for_gradient_norms(study: dict[str, Any]) -> None:
    """Figure 3 shows two of its runs, with one measure more."""
    rates = sweep_of(study)["sweep"]["optimiser.learning_rate"]
    rates.update(lowest=0.1, highest=0.3)  # the same runs under two names each
    analysis = study["figures"]["fig3"]["tables"]["runs"]["analysis"]
    analysis["further"] = ["full_gradient_norm"]


def table_of_fig3(workspace: Workspace) -> pd.DataFrame:
    tables = workspace.root.glob("results/store/table/periodic_fig3-runs-*/table.parquet")
    return pd.read_parquet(max(tables, key=lambda path: path.stat().st_mtime))


def test_a_measure_added_to_a_figure_replays_its_runs_only(workspace: Workspace) -> None:
    workspace.edit_paper(ask_for_gradient_norms)
    assert workspace.jobs() == training_jobs(0.1, 0.3) | FIG3
    runs = {
        path: path.read_bytes()
        for path in workspace.root.glob(f"results/store/run/*/e{EPOCHS}/provenance.json")
    }
    printed = workspace.make()
    assert printed.count("is trained again to measure full_gradient_norm") == 2
    assert {path: path.read_bytes() for path in runs} == runs
    for rate in (0.1, 0.3):
        measure = workspace.store(f"run/*-lr{rate:g}-*/e{EPOCHS}/full_gradient_norm-*")
        details = json.loads((measure / "provenance.json").read_text())["details"]
        assert details["by"] == "replay"
    assert (table_of_fig3(workspace)["full_gradient_norm"] > 0).all()
    assert workspace.jobs("periodic_fig4", "periodic_fig6") == set()


def test_a_replay_that_departs_fails_or_becomes_another_trajectory(workspace: Workspace) -> None:
    run = workspace.store(f"run/convnet-digits-lr0.3-*/e{EPOCHS}")
    losses = np.load(run / "losses.npy")
    losses[20] *= 1 + 1e-12
    np.save(run / "losses.npy", losses)
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["files"]["losses.npy"] = checksum(run / "losses.npy")
    (run / "provenance.json").write_text(json.dumps(provenance))

    workspace.edit_paper(ask_for_gradient_norms)
    failed = workspace.snakemake("periodic_fig3")
    assert failed.returncode != 0
    (told,) = {line for line in failed.stdout.splitlines() if line.startswith("perigee train: ")}
    place = f"results/store/run/{run.parent.name}/e{EPOCHS}"
    assert f"{place} cannot be followed: at step 20 the loss is " in told
    assert f" instead of {float(losses[20])!r}. Measure it where" in told
    assert "on_departure: train_anew" in told
    assert "Traceback" not in failed.stdout

    workspace.edit_yaml("config/config.yaml", lambda c: c.update(on_departure="train_anew"))
    workspace.make("periodic_fig3")
    assert (run.with_name(f"e{EPOCHS}.2") / "provenance.json").exists()
    measures = sorted(path.name.partition("-")[0] for path in run.parent.glob("e4.2/*-*"))
    assert "full_gradient_norm" in measures
    assert "metrics" in measures, "all that the table reads is of one trajectory"
    assert not list(run.glob("full_gradient_norm-*"))
    assert workspace.jobs() == set()


def test_a_second_table_uses_the_evaluations_that_are_there(workspace: Workspace) -> None:
    def add_table(study: dict[str, Any]) -> None:
        figure = study["figures"]["fig6"]
        figure["runs"]["again"] = {**figure["runs"]["convnet"], "sweep": {"seed": [11, 10]}}
        figure["tables"]["again"] = {"analysis": {"name": "similarity"}, "runs": ["again"]}

    workspace.edit_paper(add_table)
    assert workspace.jobs() == figure_jobs("fig6", "again")


def test_products_of_an_earlier_version_are_listed_and_not_read(workspace: Workspace) -> None:
    run = workspace.store(f"run/convnet-digits-lr0.1-*/e{EPOCHS}")
    earlier = run.parents[1] / "convnet-digits-lr0.1-wd0.01-seed10-0123456789abcdef/e4"
    earlier.mkdir(parents=True)
    provenance = json.loads((run / "provenance.json").read_text())
    del provenance["format"]
    (earlier / "provenance.json").write_text(json.dumps(provenance))
    (workspace.root / "results/store/.earlier-products-told").unlink(missing_ok=True)
    first, second = (workspace.snakemake("everything", options=("-n",)).stdout for _ in range(2))
    said = "holds 1 data sets and runs of an earlier version of Perigee, which are not read"
    assert said in first
    assert "'perigee store clean' lists them" in " ".join(first.split())
    assert said not in second
    assert "Nothing to be done" in first
    listed = workspace.by_hand("python", "-m", "perigee", "store", "clean").stdout
    assert "made by an earlier version of Perigee" in listed
    assert earlier.parent.name in listed


def test_without_the_default_profile_no_finished_run_is_trained_again(
    workspace: Workspace,
) -> None:
    workspace.set_learning_rates(*LEARNING_RATES, 0.5)
    planned = workspace.snakemake("periodic_fig3", options=("-n", "--workflow-profile", "none"))
    assert planned.returncode == 0, planned.stdout
    (job,) = re.findall(r"^Job \d+: train_run (\S+)$", planned.stdout, re.M)
    assert "-lr0.5-" in job
