"""perigee.plotting.notebook on templates of a cell or two."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

from perigee.errors import PerigeeError
from perigee.plotting import notebook
from perigee.plotting.notebook import execute_notebook

PARAMETERS = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
tables = {}
folder = "."
stamp = {}

# %%
from pathlib import Path

"""

WRITES_ALL = """\
for ending in (".pdf", "_paper_width.pdf", ".png", ".csv"):
    Path(folder, f"figure{ending}").write_text(f"{tables} {stamp}")
"""


def execute(template: Path, body: str) -> Path:
    """The output folder."""
    template.write_text(PARAMETERS + body)
    folder = template.with_name("figure")
    folder.mkdir()
    tables, stamp = {"runs": Path("table.parquet")}, {"scale": "smoke"}
    execute_notebook(template, folder, tables, stamp, template.with_name("failed") / "half.ipynb")
    return folder


def test_the_template_is_executed_with_its_parameters(tmp_path: Path) -> None:
    folder = execute(tmp_path / "drawing.py", WRITES_ALL)
    assert sorted(path.name for path in folder.iterdir()) == [
        "figure.csv",
        "figure.ipynb",
        "figure.pdf",
        "figure.png",
        "figure_paper_width.pdf",
    ]
    written = (folder / "figure.csv").read_text()
    table = str(Path("table.parquet").resolve())
    assert written == f"{{'runs': '{table}'}} {{'scale': 'smoke'}}"
    executed = nbformat.read(folder / "figure.ipynb", as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert not (tmp_path / "failed").exists()


def test_a_failing_cell_is_one_sentence_and_leaves_the_half_executed_notebook(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        PerigeeError, match=r"drawing\.py failed: ValueError: no such panel; see .*half\.ipynb"
    ):
        execute(tmp_path / "drawing.py", 'raise ValueError("no such panel")\n')
    assert "no such panel" in (tmp_path / "failed" / "half.ipynb").read_text()
    assert not (tmp_path / "figure" / "template.ipynb").exists()


def test_an_output_that_was_not_written_is_named(tmp_path: Path) -> None:
    body = WRITES_ALL.replace('".csv"', "")
    with pytest.raises(PerigeeError, match=r"drawing\.py wrote no figure\.csv"):
        execute(tmp_path / "drawing.py", body)


def test_further_parameters_reach_the_template(tmp_path: Path) -> None:
    template = tmp_path / "drawing.py"
    body = WRITES_ALL.replace("{tables} {stamp}", "{panels}")
    template.write_text(PARAMETERS.replace("stamp = {}", "stamp = {}\npanels = []") + body)
    folder = tmp_path / "figure"
    folder.mkdir()
    further = {"panels": ["train_loss"]}
    execute_notebook(template, folder, {}, {}, tmp_path / "failed.ipynb", further)
    assert (folder / "figure.csv").read_text() == "['train_loss']"


def test_a_kernel_that_dies_leaves_the_half_executed_notebook_and_a_word_of_memory(
    tmp_path: Path,
) -> None:
    body = 'print("so far")\n\n# %%\nimport os\n\nos.kill(os.getpid(), 9)\n'
    with pytest.raises(
        PerigeeError, match=r"drawing\.py failed: its kernel died.*memory; see .*half"
    ):
        execute(tmp_path / "drawing.py", body)
    assert "so far" in (tmp_path / "failed" / "half.ipynb").read_text()


def test_a_kernel_that_does_not_start_in_time_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import time; time.sleep(60)"
    monkeypatch.setattr(notebook, "KERNEL", [sys.executable, "-c", slow, "{connection_file}"])
    monkeypatch.setattr(notebook, "START_SECONDS", 1)
    with pytest.raises(PerigeeError, match=r"drawing\.py failed: its kernel did not start"):
        execute(tmp_path / "drawing.py", WRITES_ALL)


def test_nothing_that_a_user_has_set_up_reaches_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither another kernel of that name, nor IPython's profile, nor a backend or matplotlibrc."""
    kernel = tmp_path / "jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["false"], "display_name": "Another", "language": "python"}')
    startup = tmp_path / "ipython/profile_default/startup/first.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("stamp = 'theirs'\n")
    startup.parents[1].joinpath("ipython_kernel_config.py").write_text("raise SystemExit(3)\n")
    startup.parents[1].joinpath("ipython_config.py").write_text(
        "c.InteractiveShellApp.exec_lines = ['import sys; sys.theirs = True']\n"
    )
    (tmp_path / "matplotlibrc").write_text("savefig.transparent: True\ntext.usetex: True\n")
    for name, value in {
        "JUPYTER_PATH": "jupyter",
        "JUPYTER_DATA_DIR": "jupyter",
        "JUPYTER_CONFIG_DIR": "jupyter",
        "IPYTHONDIR": "ipython",
        "MATPLOTLIBRC": "matplotlibrc",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("MPLBACKEND", "tkagg")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/proc/nowhere")
    body = """
import sys

import matplotlib.pyplot as plt

assert not hasattr(sys, "theirs")
found = [sys.executable, plt.get_backend(), plt.rcParams["savefig.transparent"]]
Path(folder, "figure.csv").write_text(repr(found))
Path(folder, "figure.pdf").touch()
Path(folder, "figure_paper_width.pdf").touch()
Path(folder, "figure.png").touch()
"""
    folder = execute(tmp_path / "drawing.py", body)
    inline = "module://matplotlib_inline.backend_inline"
    assert (folder / "figure.csv").read_text() == repr([sys.executable, inline, False])


def test_an_executed_notebook_can_be_run_again_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its parameters, as it stands in the folder of published figures, from that folder."""
    (tmp_path / "table.parquet").write_text("rows")
    monkeypatch.chdir(tmp_path)
    body = WRITES_ALL.replace("{tables} {stamp}", "{Path(tables['runs']).read_text()}")
    folder = execute(Path("drawing.py"), body)
    published = tmp_path / "published"
    published.mkdir()
    copy = folder.rename("gone") / "figure.ipynb"
    executed = nbformat.read(copy, as_version=4)
    cells = [cell.source for cell in executed.cells if cell.cell_type == "code"]
    monkeypatch.chdir(published)
    exec("\n".join(cells), {})
    assert (published / "figure.csv").read_text() == "rows"
