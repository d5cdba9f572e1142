"""Bad input gets one sentence with file, key, value and remedy before any job starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from support.workspace import Workspace, sweep_of

PERIODIC = "config/studies/periodic.yaml"

Edit = Callable[[dict[str, Any]], None]


def refusal(workspace: Workspace, *options: str) -> str:
    """The one sentence with which a dry run ends; nothing was planned, nothing is traced back."""
    result = workspace.run("snakemake", "-n", "all_figures", "--config", "scale=smoke", *options)
    assert result.returncode != 0, result.stdout
    assert "Traceback" not in result.stdout
    assert "Job stats" not in result.stdout
    sentences = re.findall(r"^Error: (.+)$", result.stdout, flags=re.MULTILINE)
    assert len(sentences) == 1, result.stdout
    assert result.stdout.rstrip().endswith(sentences[0])
    return sentences[0]


def set_in(*path: Any, value: Any) -> Edit:
    def edit(study: dict[str, Any]) -> None:
        *parents, last = path
        for parent in parents:
            study = study[parent]
        study[last] = value

    return edit


def set_learning_rates(value: Any) -> Edit:
    def edit(study: dict[str, Any]) -> None:
        sweep_of(study)["sweep"]["optimiser.learning_rate"]["smoke"] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        pytest.param(
            set_in("runs", "si_convnet", "optimizer", value={"name": "sgd"}),
            ["unknown key 'optimizer'", "runs.si_convnet", "did you mean 'optimiser'?"],
            id="unknown key of a run",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "model", "widht", value=8),
            ["unknown key 'widht'", "model", "did you mean 'width'?"],
            id="unknown parameter of a model",
        ),
        pytest.param(
            set_in("figures", "fig3", "epochs", value=3),
            ["unknown key 'epochs'", "figures.fig3", "known are claims, tables, title"],
            id="unknown key of a figure",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "batch_size", value="many"),
            ["runs.si_convnet.batch_size", "'many'", "of type integer"],
            id="text for a number",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "model", "scale_invariant", value="si"),
            ["model.scale_invariant", "'si'", "of type boolean"],
            id="text for a truth value",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "batch_size", value=12.5),
            ["runs.si_convnet.batch_size", "12.5", "of type integer"],
            id="a fraction for a whole number",
        ),
        pytest.param(
            set_learning_rates([-0.1]),
            ["optimiser.learning_rate", "-0.1", "greater than 0"],
            id="negative learning rate",
        ),
        pytest.param(
            set_learning_rates([float("nan")]),
            ["optimiser.learning_rate", "nan", "finite number"],
            id="learning rate that is no number",
        ),
        pytest.param(
            set_learning_rates([]),
            ["sweep.optimiser.learning_rate", "is empty", "at least one"],
            id="empty sweep",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "dataset", "name", "smoke", value="mnist"),
            ["dataset.name", "'mnist'", "no data set", "digits"],
            id="unknown data set",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "model", "name", value="convnett"),
            ["model.name", "'convnett'", "did you mean 'convnet'?"],
            id="unknown model",
        ),
        pytest.param(
            set_in("runs", "si_convnet", "batch_size", value={"smoke": 1, "laptop": 2}),
            ["runs.si_convnet.batch_size", "no value for the scale 'paper'"],
            id="a scale left out",
        ),
        pytest.param(
            set_in("figures", "fig9", value={"title": "t", "tables": {"a": {"analysis": {}}}}),
            ["figures.fig9", "'name'", "is missing"],
            id="key missing",
        ),
        pytest.param(
            lambda study: sweep_of(study).update(base="si_resnet"),
            ["runs[0].base", "'si_resnet'", "known are far_from_destabilisation"],
            id="unknown base run",
        ),
        pytest.param(
            lambda study: sweep_of(study)["sweep"].update({"optimizer.momentum": [0.9]}),
            ["optimizer.momentum", "leads nowhere"],
            id="swept key that leads nowhere",
        ),
        pytest.param(
            lambda study: sweep_of(study)["sweep"].update({True: [1]}),
            ["'True' is read as bool", "put it in quotes"],
            id="a key that YAML takes for a truth value",
        ),
        pytest.param(
            lambda study: study["figures"]["fig3"]["tables"]["runs"].pop("runs"),
            ["tables.runs.runs' is missing", "'run_metrics' reads runs"],
            id="an analysis without its runs",
        ),
        pytest.param(
            lambda study: study["figures"]["fig2"]["tables"]["steps"].update(
                runs=[{"base": "si_convnet", "epochs": 1}]
            ),
            ["tables.steps.runs' is given", "computes from a formula"],
            id="runs for an analysis that computes",
        ),
        pytest.param(
            set_in("figures", "fig2", "tables", "steps", "analysis", "start", value=[0.85]),
            ["analysis.start", "has 1 entries; it must have 2"],
            id="too few values",
        ),
        pytest.param(
            set_in("figures", "Figure 3", value={}),
            ["'Figure 3'", "no possible name"],
            id="impossible figure name",
        ),
    ],
)
def test_a_wrong_study_file(workspace: Workspace, edit: Edit, told: list[str]) -> None:
    workspace.edit_study(edit)
    sentence = refusal(workspace)
    assert PERIODIC in sentence
    for part in told:
        assert part in sentence, sentence


def test_a_wrong_value_of_another_scale_is_told_too(workspace: Workspace) -> None:
    workspace.edit_study(set_in("runs", "si_convnet", "model", "width", "paper", value=-32))
    assert "model.width' is -32; it must be at least 1" in refusal(workspace)


def test_two_figures_with_one_key(workspace: Workspace) -> None:
    text = (workspace.root / PERIODIC).read_text()
    figure = text[text.index("  fig2:") : text.index("  fig3:")]
    (workspace.root / PERIODIC).write_text(text + figure)
    sentence = refusal(workspace)
    assert PERIODIC in sentence
    assert "'fig2' stands twice" in sentence


def test_a_figure_without_notebook(workspace: Workspace) -> None:
    (workspace.root / "workflow/notebooks/periodic_fig3.py").unlink()
    assert "write workflow/notebooks/periodic_fig3.py" in refusal(workspace)


def test_a_figure_without_caption(workspace: Workspace) -> None:
    (workspace.root / "workflow/report/periodic_fig3.rst").unlink()
    assert "write workflow/report/periodic_fig3.rst" in refusal(workspace)


@pytest.mark.parametrize(
    "name", ["workflow/notebooks/periodic_fig3.py", "workflow/perigee/models/convnet.py"]
)
def test_code_that_is_no_python(workspace: Workspace, name: str) -> None:
    path = workspace.root / name
    path.write_text(path.read_text() + "\nfor\n")
    line = len(path.read_text().splitlines())
    sentence = refusal(workspace)
    assert f"{name}, line {line}: invalid" in sentence


def test_a_key_that_stands_twice_in_the_configuration(workspace: Workspace) -> None:
    path = workspace.root / "config/config.yaml"
    path.write_text(path.read_text() + "scale: smoke\n")
    assert "config.yaml, line" in refusal(workspace)


def test_a_study_file_that_is_no_utf8(workspace: Workspace) -> None:
    path = workspace.root / PERIODIC
    path.write_bytes(path.read_text().replace("Lobacheva", "Lob\u00e4cheva").encode("latin-1"))
    assert "no UTF-8 text" in refusal(workspace)


def test_a_study_file_that_is_no_yaml(workspace: Workspace) -> None:
    (workspace.root / PERIODIC).write_text("figures: [fig3\n")
    sentence = refusal(workspace)
    assert PERIODIC in sentence
    assert "not valid YAML" in sentence


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("scale=huge", ["'scale'", "'huge'", "laptop, paper, smoke"]),
        ("scael=smoke", ["unknown key 'scael'", "did you mean 'scale'?"]),
        ("device=gpu", ["'device'", "'gpu'"]),
        ("runs_per_gpu=0", ["'runs_per_gpu'", "at least 1"]),
        ("progress_interval=0", ["'progress_interval'", "at least 0.1"]),
        ("papers=[periodical]", ["'papers'", "'periodical'", "known are periodic, regimes"]),
        ("download=perhaps", ["'download'", "'perhaps'", "of type boolean"]),
        ("papers=[../config]", ["'papers[0]'", "../config"]),
        ("results=~/results", ["'results'", "~/results"]),
        ("papers=periodic", ["'papers'", "'periodic'", "of type list"]),
    ],
)
def test_a_wrong_configuration(workspace: Workspace, setting: str, told: list[str]) -> None:
    sentence = refusal(workspace, setting)
    for part in ["config/config.yaml", *told]:
        assert part in sentence, sentence


def test_a_data_file_with_a_wrong_checksum(workspace: Workspace) -> None:
    (data,) = workspace.root.glob("results/store/dataset/digits-*/data.safetensors")
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    sentence = refusal(workspace)
    assert str(data.relative_to(workspace.root)) in sentence
    assert "wrong checksum" in sentence
    assert "delete its folder" in sentence


@pytest.mark.parametrize("folder", ["pyproject.toml/results", "/proc/perigee"])
def test_a_results_folder_that_takes_no_files(workspace: Workspace, folder: str) -> None:
    sentence = refusal(workspace, f"results={folder}")
    assert f"'results' is '{folder}'" in sentence
    assert "give another folder" in sentence


def test_a_tampered_run_is_refused_by_name(workspace: Workspace) -> None:
    (metrics,) = workspace.root.glob("results/store/run/convnet-digits-lr0.1-*/e4/metrics.parquet")
    (other,) = workspace.root.glob("results/store/run/convnet-digits-lr0.3-*/e4/metrics.parquet")
    metrics.write_bytes(other.read_bytes())
    workspace.edit_study(set_learning_rates([0.1, 0.3]))
    result = workspace.snakemake("periodic_fig3")
    assert result.returncode != 0
    told = [line for line in result.stdout.splitlines() if line.startswith("make_table.py: ")]
    assert len(told) == 1
    assert str(metrics.relative_to(workspace.root)) in told[0]
    assert "Traceback" not in result.stdout


def test_a_foreign_product_is_refused_by_name(workspace: Workspace) -> None:
    (run,) = workspace.root.glob("results/store/run/convnet-digits-lr0.1-*/e4")
    (other,) = workspace.root.glob("results/store/run/convnet-digits-lr0.3-*/e4")
    for path in other.iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    workspace.edit_study(set_learning_rates([0.1, 0.3]))
    result = workspace.snakemake("periodic_fig3")
    assert result.returncode != 0
    assert f"{run.relative_to(workspace.root)}/provenance.json belongs to another product" in (
        result.stdout
    )
