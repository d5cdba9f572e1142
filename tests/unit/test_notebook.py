"""perigee.plotting.notebook on templates of a cell or two."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from perigee.errors import PerigeeError
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
for ending in ("pdf", "png", "csv"):
    Path(folder, f"figure.{ending}").write_text(f"{tables} {stamp}")
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
    ]
    written = (folder / "figure.csv").read_text()
    assert written == "{'runs': 'table.parquet'} {'scale': 'smoke'}"
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
    body = WRITES_ALL.replace('"csv"', "")
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
