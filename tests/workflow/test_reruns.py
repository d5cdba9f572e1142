"""Change one value: exactly what depends on it runs. Each by a real dry run.

Every test runs twice, with Snakemake's own metadata and without.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from workspace import COMPARED, EPOCHS, LEARNING_RATES, Workspace, sweep_of

Prepare = Callable[[Workspace], None]

FIG3 = {
    "make_table periodic_fig3-runs",
    "draw_figure periodic_fig3",
    "publish_figure periodic_fig3",
}
APP_F1 = {
    "make_table periodic_appF1-runs",
    "draw_figure periodic_appF1",
    "publish_figure periodic_appF1",
}
FIG4 = {
    "make_table periodic_fig4-period",
    "draw_figure periodic_fig4",
    "publish_figure periodic_fig4",
}
FIG6 = {
    *(f"train_run {run}/e{EPOCHS}-every1" for run in COMPARED),
    *(f"predict_run {run}" for run in COMPARED),
    "make_table periodic_fig6-convnet",
    "make_table periodic_fig6-resnet",
    "draw_figure periodic_fig6",
    "publish_figure periodic_fig6",
}
PERIODIC = "config/studies/periodic.yaml"
UPDATE_RULE = "workflow/perigee/training/optimisers/sgd.py"


def run_name(
    learning_rate: float, weight_decay: float = 0.01, seed: int = 0, epochs: int = EPOCHS
) -> str:
    return f"convnet-digits-lr{learning_rate:g}-wd{weight_decay:g}-seed{seed}/e{epochs}"


def trained(*names: str) -> set[str]:
    return {f"train_run {name}" for name in names}


def set_learning_rates(workspace: Workspace, *rates: float, figure: str = "fig3") -> None:
    def edit(study: dict[str, Any]) -> None:
        sweep_of(study, figure)["sweep"]["optimiser.learning_rate"]["smoke"] = list(rates)

    workspace.edit_study(edit)


def set_epochs(workspace: Workspace, epochs: int, figure: str = "fig3") -> None:
    def edit(study: dict[str, Any]) -> None:
        sweep_of(study, figure)["epochs"]["smoke"] = epochs

    workspace.edit_study(edit)


def test_nothing_changed(workspace: Workspace, prepare: Prepare) -> None:
    prepare(workspace)
    assert workspace.jobs() == set()


def test_one_learning_rate_changed(workspace: Workspace, prepare: Prepare) -> None:
    set_learning_rates(workspace, 0.03, 0.2, 0.3, 3)
    prepare(workspace)
    assert workspace.jobs() == trained(run_name(0.2)) | FIG3


def test_a_learning_rate_added(workspace: Workspace, prepare: Prepare) -> None:
    set_learning_rates(workspace, *LEARNING_RATES, 0.5)
    prepare(workspace)
    assert workspace.jobs() == trained(run_name(0.5)) | FIG3


def test_a_published_path_is_as_good_as_the_target(workspace: Workspace, prepare: Prepare) -> None:
    set_learning_rates(workspace, *LEARNING_RATES, 0.5)
    prepare(workspace)
    for suffix in ("pdf", "png", "csv", "ipynb"):
        path = f"results/smoke/figures/periodic_fig3.{suffix}"
        assert workspace.jobs(path) == trained(run_name(0.5)) | FIG3
    assert workspace.jobs("results/smoke/figures/periodic_appF1.pdf") == set()


def test_a_learning_rate_removed_and_restored(workspace: Workspace, prepare: Prepare) -> None:
    before = (workspace.root / PERIODIC).read_text()
    pdf = workspace.root / "results/smoke/figures/periodic_fig3.pdf"
    first_pdf = pdf.read_bytes()
    set_learning_rates(workspace, *LEARNING_RATES[:-1])
    assert workspace.jobs() == FIG3
    workspace.make()
    assert pdf.read_bytes() != first_pdf
    (workspace.root / PERIODIC).write_text(before)
    prepare(workspace)
    assert workspace.jobs() == {"publish_figure periodic_fig3"}
    assert workspace.jobs("results/smoke/figures/periodic_fig3.pdf") == {
        "publish_figure periodic_fig3"
    }
    workspace.make()
    assert pdf.read_bytes() == first_pdf


def test_a_seed_added(workspace: Workspace, prepare: Prepare) -> None:
    def edit(study: dict[str, Any]) -> None:
        sweep_of(study)["sweep"]["seed"]["smoke"] = [0, 1]

    workspace.edit_study(edit)
    prepare(workspace)
    assert workspace.jobs() == trained(*(run_name(lr, seed=1) for lr in LEARNING_RATES)) | FIG3


def test_the_schedule_changed_in_one_figure(workspace: Workspace, prepare: Prepare) -> None:
    def edit(study: dict[str, Any]) -> None:
        sweep_of(study, "appF1")["set"] = {"schedule": {"name": "cosine", "horizon": EPOCHS}}

    workspace.edit_study(edit)
    prepare(workspace)
    assert workspace.jobs() == trained(*map(run_name, LEARNING_RATES)) | APP_F1


def test_a_caption_edited(workspace: Workspace, prepare: Prepare) -> None:
    caption = workspace.root / "workflow/report/periodic_fig3.rst"
    caption.write_text(caption.read_text() + "\nAnother sentence.\n")
    prepare(workspace)
    assert workspace.jobs() == set()


def test_keys_reordered(workspace: Workspace, prepare: Prepare) -> None:
    for name in (PERIODIC, "config/studies/regimes.yaml", "config/config.yaml"):
        path = workspace.root / name
        reordered = yaml.safe_dump(
            _reversed_keys(yaml.safe_load(path.read_text())), sort_keys=False
        )
        assert reordered != path.read_text()
        path.write_text(reordered)
    prepare(workspace)
    assert workspace.jobs() == set()


def _reversed_keys(value: Any) -> Any:
    """Mappings back to front; the order of lists is meant, so it stays."""
    if isinstance(value, dict):
        return {key: _reversed_keys(item) for key, item in reversed(value.items())}
    return [_reversed_keys(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("spelling", ["1e-2", "0.0100", "1.0e-02", "'0.01'"])
def test_a_number_written_otherwise(workspace: Workspace, prepare: Prepare, spelling: str) -> None:
    study = workspace.root / PERIODIC
    written = study.read_text().replace("smoke: 0.01\n", f"smoke: {spelling}\n")
    assert written != study.read_text()
    study.write_text(written)
    prepare(workspace)
    assert workspace.jobs() == set()


def test_learning_rate_and_weight_decay_swapped(workspace: Workspace, prepare: Prepare) -> None:
    def edit(rate: float, decay: float) -> Callable[[dict[str, Any]], None]:
        def set_both(study: dict[str, Any]) -> None:
            sweep_of(study)["sweep"] = {
                "optimiser.learning_rate": [rate],
                "optimiser.weight_decay": [decay],
                "seed": [0],
            }

        return set_both

    workspace.edit_study(edit(0.3, 0.01))
    assert workspace.jobs() == FIG3
    workspace.edit_study(edit(0.01, 0.3))
    prepare(workspace)
    assert workspace.jobs() == trained(run_name(0.01, weight_decay=0.3)) | FIG3


@pytest.mark.parametrize("order", ["as listed", "backwards"])
def test_every_file_touched(workspace: Workspace, prepare: Prepare, order: str) -> None:
    files = sorted(path for path in workspace.root.rglob("*") if path.is_file())
    now = time.time()
    for age, path in enumerate(files if order == "as listed" else reversed(files)):
        os.utime(path, (now - age, now - age))
    prepare(workspace)
    assert workspace.jobs() == set()


def test_a_clone_with_the_results_copied_in(
    workspace: Workspace, prepare: Prepare, tmp_path: Path
) -> None:
    clone = Workspace(tmp_path / "elsewhere" / "clone")
    ignored = shutil.ignore_patterns(".snakemake", "results", "__pycache__")
    shutil.copytree(workspace.root, clone.root, ignore=ignored, copy_function=shutil.copyfile)
    # Without time stamps, as by rsync without --times.
    shutil.copytree(
        workspace.root / "results", clone.root / "results", copy_function=shutil.copyfile
    )
    prepare(clone)
    assert clone.jobs() == set()


def test_plotting_code_changed(workspace: Workspace, prepare: Prepare) -> None:
    workspace.replace(
        "workflow/perigee/plotting/trajectories.py", '"linewidth": 0.7', '"linewidth": 0.8'
    )
    prepare(workspace)
    assert workspace.jobs() == {
        f"{rule} periodic_{figure}"
        for rule in ("draw_figure", "publish_figure")
        for figure in ("fig3", "appF1")
    }


def test_a_notebook_changed(workspace: Workspace, prepare: Prepare) -> None:
    workspace.replace("workflow/notebooks/regimes_fig2.py", 'xlabel="iteration"', 'xlabel="step"')
    prepare(workspace)
    assert workspace.jobs() == {"draw_figure regimes_fig2", "publish_figure regimes_fig2"}


def test_the_update_rule_changed(workspace: Workspace, prepare: Prepare) -> None:
    workspace.replace(UPDATE_RULE, "1 - learning_rate * self", "1 - 2 * learning_rate * self")
    prepare(workspace)
    every = trained(*map(run_name, LEARNING_RATES)) | FIG3 | FIG4 | FIG6 | APP_F1
    assert workspace.jobs() == every


def test_a_comment_and_a_docstring_changed(workspace: Workspace, prepare: Prepare) -> None:
    workspace.replace(UPDATE_RULE, "import torch\n", "# A remark.\n\nimport torch  # here too\n")
    workspace.replace(
        UPDATE_RULE, "Update ``parameters`` in place", "Bring ``parameters`` forward in place"
    )
    prepare(workspace)
    assert workspace.jobs() == set()


def test_a_model_a_data_set_an_optimiser_and_a_progress_message_added(
    workspace: Workspace, prepare: Prepare
) -> None:
    library = workspace.root / "workflow/perigee"
    for old, new in (
        ("models/convnet.py", "models/othernet.py"),
        ("data/digits.py", "data/otherdigits.py"),
        ("training/optimisers/sgd.py", "training/optimisers/othersgd.py"),
    ):
        shutil.copyfile(library / old, library / new)
    registry = "workflow/perigee/registry.py"
    for line, other in (
        (
            '        "digits": _dataset("data.digits:build", train_images=1437),\n',
            ("digits", "otherdigits"),
        ),
        (
            '        "convnet": _block(\n            "models.convnet:build",\n',
            ("convnet", "othernet"),
        ),
    ):
        added = line.replace(*other)
        if added.endswith(':build",\n'):
            added += "            width=integer(minimum=1),\n        ),\n"
        workspace.replace(registry, line, added + line)
    workspace.replace(
        "workflow/perigee/progress.py",
        "            f\"ρ {row['weight_norm']:.3g}\"\n",
        "            f\"ρ {row['weight_norm']:.3g}, g {row['gradient_norm']:.3g}\"\n",
    )
    prepare(workspace)
    assert workspace.jobs() == set()


def test_one_runs_results_deleted(workspace: Workspace, prepare: Prepare) -> None:
    (folder,) = workspace.root.glob("results/store/run/convnet-digits-lr0.1-*")
    shutil.rmtree(folder)
    prepare(workspace)
    # The figures that were made of it are still right ...
    assert workspace.jobs() == set()
    # ... it can be had again by its path ...
    asked = f"results/store/run/{folder.name}/e{EPOCHS}/metrics.parquet"
    assert workspace.jobs(asked) == trained(run_name(0.1))
    # ... and it is trained again when something new needs it, and nothing else is made again.
    set_learning_rates(workspace, *LEARNING_RATES, 0.5)
    assert workspace.jobs() == trained(run_name(0.1), run_name(0.5)) | FIG3


def test_a_data_set_deleted_retrains_nothing(workspace: Workspace, prepare: Prepare) -> None:
    shutil.rmtree(workspace.root / "results/store/dataset")
    prepare(workspace)
    assert workspace.jobs() == set()
    set_learning_rates(workspace, *LEARNING_RATES, 0.5)
    expected = {"build_dataset digits"} | trained(run_name(0.5)) | FIG3
    assert workspace.jobs() == expected


def test_epochs_raised_lowered_and_restored(workspace: Workspace, prepare: Prepare) -> None:
    set_epochs(workspace, EPOCHS + 1)
    prepare(workspace)
    assert workspace.jobs() == FIG3 | trained(
        *(run_name(rate, epochs=EPOCHS + 1) for rate in LEARNING_RATES)
    )
    set_epochs(workspace, EPOCHS - 1)
    assert workspace.jobs() == FIG3 | {
        f"read_off_run {run_name(rate, epochs=EPOCHS - 1)}" for rate in LEARNING_RATES
    }
    workspace.make()
    set_epochs(workspace, EPOCHS)
    prepare(workspace)
    assert workspace.jobs() == {"publish_figure periodic_fig3"}


def test_epochs_lowered_and_restored_where_no_other_figure_needs_the_run(
    workspace: Workspace, prepare: Prepare
) -> None:
    def only_fig3(study: dict[str, Any]) -> None:
        del study["figures"]["appF1"], study["figures"]["fig4"], study["figures"]["fig6"]

    workspace.edit_study(only_fig3)
    assert workspace.jobs() == set()
    set_epochs(workspace, EPOCHS - 1)
    prepare(workspace)
    assert workspace.jobs() == FIG3 | {
        f"read_off_run {run_name(rate, epochs=EPOCHS - 1)}" for rate in LEARNING_RATES
    }
    workspace.make()
    set_epochs(workspace, EPOCHS)
    prepare(workspace)
    assert workspace.jobs() == {"publish_figure periodic_fig3"}


def test_two_lengths_of_a_run_share_their_training(workspace: Workspace, prepare: Prepare) -> None:
    shutil.rmtree(workspace.root / "results")
    set_epochs(workspace, 2)
    prepare(workspace)
    short = trained(*(run_name(rate, epochs=2) for rate in LEARNING_RATES))
    # A figure has only what it needs trained ...
    assert {job for job in workspace.jobs("periodic_fig3") if "_run " in job} == short
    # ... and a longer version goes on from the shorter one.
    both = {job for job in workspace.jobs("periodic_fig3", "periodic_appF1") if "_run " in job}
    assert both == short | trained(*map(run_name, LEARNING_RATES))


@pytest.mark.parametrize("spelling", ["4.0", "'4'", "4e0"])
def test_a_whole_number_written_otherwise(
    workspace: Workspace, prepare: Prepare, spelling: str
) -> None:
    study = workspace.root / PERIODIC
    text, count = re.subn(r"(epochs:\n +smoke:) 4\n", rf"\1 {spelling}\n", study.read_text())
    assert count > 1
    study.write_text(text)
    prepare(workspace)
    assert workspace.jobs() == set()


def test_without_the_default_profile_no_finished_run_is_trained_again(
    workspace: Workspace, prepare: Prepare
) -> None:
    set_learning_rates(workspace, *LEARNING_RATES, 0.5)
    prepare(workspace)
    options = ("-n", "--workflow-profile", "none")
    result = workspace.snakemake("periodic_fig3", options=options)
    assert result.returncode == 0, result.stdout
    jobs = {line for line in result.stdout.splitlines() if ": train_run " in line}
    assert len(jobs) == 1
    assert "-lr0.5-" in jobs.pop()


def test_the_scale_switched_there_and_back(workspace: Workspace, prepare: Prepare) -> None:
    # The toy function is computed alike at every scale: its table is shared, its stamp is not.
    drawn = {"draw_figure regimes_fig2", "publish_figure regimes_fig2"}
    assert workspace.jobs("regimes_fig2", scale="laptop") == drawn
    workspace.make("regimes_fig2", scale="laptop")
    prepare(workspace)
    assert workspace.jobs() == set()
    assert workspace.jobs("regimes_fig2", scale="laptop") == set()
    laptop_runs = [job for job in workspace.jobs(scale="laptop") if job.startswith("train_run")]
    # Three of the twelve runs of fig3 are read off those of fig6, which keep checkpoints.
    of_fig3, of_fig4, of_fig6 = 9, 2, 3 + 2
    assert len(laptop_runs) == of_fig3 + of_fig4 + of_fig6


def test_a_published_figure_overwritten_by_hand(workspace: Workspace, prepare: Prepare) -> None:
    pdf = workspace.root / "results/smoke/figures/periodic_fig3.pdf"
    before = pdf.read_bytes()
    pdf.write_bytes(b"something else")
    prepare(workspace)
    assert workspace.jobs() == {"publish_figure periodic_fig3"}
    workspace.make()
    assert pdf.read_bytes() == before
