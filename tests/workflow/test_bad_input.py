"""Bad input ends `snakemake` in one sentence before any job starts.

tests/planning/test_bad_studies.py has all kinds of mistakes in the configuration; here is one of
each place that they are found in.
"""

from __future__ import annotations

import re

import pytest

from support.workspace import EPOCHS, Workspace

PAPER = "config/papers/periodic/paper.yaml"


def refusal(workspace: Workspace, *options: str) -> str:
    """The one sentence that a call ends with; nothing was planned, nothing is traced back."""
    result = workspace.run("snakemake", "all_figures", *options)
    assert result.returncode != 0, result.stdout
    assert "Traceback" not in result.stdout
    assert "Job stats" not in result.stdout
    sentences = re.findall(r"^Error: (.+)$", result.stdout, flags=re.MULTILINE)
    assert len(sentences) == 1, result.stdout
    assert result.stdout.rstrip().endswith(sentences[0])
    return sentences[0]


@pytest.mark.parametrize("options", [("-n",), ()], ids=["dry", "for real"])
def test_a_wrong_study_file(options: tuple[str, ...], workspace: Workspace) -> None:
    workspace.edit_paper(lambda study: study["runs"]["si_convnet"].update(batch_size="many"))
    sentence = refusal(workspace, *options)
    assert f"{PAPER}: key 'runs.si_convnet.batch_size' is 'many'" in sentence


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("periodic_fg3", "did you mean 'periodic_fig3'?"),
        ("study_mine", "needs a file config/studies/mine.yaml"),
    ],
)
def test_a_target_that_there_is_not(target: str, told: str, finished: Workspace) -> None:
    result = finished.run("snakemake", "-n", target)
    assert result.returncode != 0
    last = result.stdout.rstrip().splitlines()[-1]
    assert last.startswith(f"Error: '{target}' ")
    assert told in last


def test_a_wrong_setting(finished: Workspace) -> None:
    sentence = refusal(finished, "-n", "--config", "scale=huge")
    assert "--config: key 'scale' is 'huge'" in sentence
    assert "of type boolean" in refusal(finished, "-n", "--config", "download=perhaps")


def test_a_key_that_stands_twice_in_the_configuration(workspace: Workspace) -> None:
    path = workspace.root / "config/config.yaml"
    path.write_text(path.read_text() + "scale: smoke\n")
    assert "config.yaml, line" in refusal(workspace, "-n")


def test_a_key_that_stands_twice_in_a_file_laid_over_it(finished: Workspace) -> None:
    """Snakemake reads such a file first, and takes the last of the two."""
    path = finished.root.parent / "mine.yaml"
    path.write_text("device: cpu\ndevice: auto\n")
    sentence = refusal(finished, "-n", "--configfile", str(path))
    assert "mine.yaml, line 2: key 'device' stands twice" in sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"scale: smoke\n\tpapers: [periodic]\n", "line 2: not valid YAML"),
        ("scale: smoke\n# \u00e4\n".encode("latin-1"), "line 2: not UTF-8 text"),
    ],
    ids=["a tab", "latin-1"],
)
def test_a_configuration_that_cannot_be_read(text: bytes, told: str, workspace: Workspace) -> None:
    (workspace.root / "config/config.yaml").write_bytes(text)
    assert f"config/config.yaml, {told}" in refusal(workspace, "-n")


@pytest.mark.parametrize(
    "name", ["workflow/notebooks/periodic_fig3.py", "workflow/perigee/models/convnet.py"]
)
def test_code_that_is_no_python(workspace: Workspace, name: str) -> None:
    path = workspace.root / name
    path.write_text(path.read_text() + "\nfor\n")
    line = len(path.read_text().splitlines())
    assert f"{name}, line {line}: invalid" in refusal(workspace, "-n")


@pytest.mark.parametrize("folder", ["pyproject.toml/results", "/proc/perigee"])
def test_a_results_folder_that_takes_no_files(workspace: Workspace, folder: str) -> None:
    sentence = refusal(workspace, "--config", f"results={folder}")
    assert f"'results' is '{folder}'" in sentence
    assert "give another folder" in sentence


def test_a_data_file_that_was_cut_off(workspace: Workspace) -> None:
    """Its size gives it away; jobs that read a changed byte find that (test_failing_jobs.py)."""
    data = workspace.store("dataset/digits-*/data.safetensors")
    size = data.stat().st_size
    data.write_bytes(data.read_bytes()[:-1])
    sentence = refusal(workspace, "-n")
    assert f"{data.relative_to(workspace.root)} has {size - 1} bytes instead of {size}" in sentence
    assert "delete its folder" in sentence


def test_a_manifest_with_a_wrong_checksum(workspace: Workspace) -> None:
    manifest = workspace.store("dataset/digits-*/manifest.json")
    manifest.write_text(manifest.read_text().replace("1437", "1436"))
    sentence = refusal(workspace, "-n")
    assert f"{manifest.relative_to(workspace.root)} has a wrong checksum" in sentence


def test_a_tampered_and_a_foreign_run_are_refused_by_name(workspace: Workspace) -> None:
    """The tables that would read them refuse them."""
    run, other = (workspace.store(f"run/*-lr{rate}-*/e{EPOCHS}") for rate in (0.1, 0.3))
    rows, others = (next(folder.glob("metrics-*/rows.npy")) for folder in (run, other))
    kept = rows.read_bytes()
    rows.write_bytes(others.read_bytes())
    workspace.set_learning_rates(0.1, 0.3)
    table = ("periodic_fig3", "--until", "make_table")
    tampered = workspace.snakemake(*table)
    assert tampered.returncode != 0
    told = [
        line for line in tampered.stdout.splitlines() if line.startswith("perigee make-table: ")
    ]
    assert told
    for line in told:
        assert f"{rows.relative_to(workspace.root)} has a wrong checksum" in line
    assert "Traceback" not in tampered.stdout

    rows.write_bytes(kept)
    for path in other.iterdir():
        if path.is_file():
            (run / path.name).write_bytes(path.read_bytes())
    foreign = workspace.snakemake(*table)
    assert foreign.returncode != 0
    provenance = run.relative_to(workspace.root) / "provenance.json"
    assert f"{provenance} belongs to another product" in foreign.stdout
