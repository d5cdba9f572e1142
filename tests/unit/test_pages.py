"""The report's pages of claims and provenance, and how published files are known to be current."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from perigee.plan import Plan, PlannedFigure, PlannedTable
from perigee.reporting.version import pages_version

from perigee.claims.judging import COLUMNS
from perigee.configuration.studies import FigureRequest
from perigee.errors import PerigeeError
from perigee.identity.products import Identity
from perigee.reporting.pages import claims_page, mixed_versions, provenance_page
from perigee.spec import Component
from perigee.store.provenance import PROVENANCE, read_provenance
from perigee.store.publishing import Publication
from perigee.store.writing import product_writer

# Claims

VERDICTS = ["reproduced"] * 3 + ["not reproduced"] * 2 + ["not testable at this scale"]


def claims_table(verdicts: list[str], **given: str) -> pd.DataFrame:
    rows = [
        {column: f"{column} of claim {number}" for column in COLUMNS} | given | {"verdict": verdict}
        for number, verdict in enumerate(verdicts)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def cells(page: str) -> list[list[str]]:
    """The texts of the rows of a page's table, markup left out."""
    _, _, body = page.partition("<tbody>")
    rows = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    return [
        [re.sub(r"<.*?>", "|", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]
        for row in rows
    ]


def test_the_page_shows_every_claim() -> None:
    shown = cells(claims_page(claims_table(VERDICTS), "laptop"))
    assert len(shown) == len(VERDICTS)
    for number, (row, verdict) in enumerate(zip(shown, VERDICTS, strict=True)):
        each = {column: f"{column} of claim {number}" for column in COLUMNS}
        assert row == [
            f"{each['paper']}_{each['figure']}",
            f"{each['claim']}||{each['source']}|",
            f"|{each['quantity']}|",
            each["expected"],
            each["measured"],
            each["seeds"],
            verdict,
        ]


def test_the_page_counts_the_verdicts_and_names_the_scale() -> None:
    page = claims_page(claims_table(VERDICTS), "laptop")
    summary = " ".join(re.sub(r"<.*?>", "", page.partition("<table>")[0]).split())
    assert "Judged at laptop scale" in summary
    assert summary.endswith("3 reproduced, 2 not reproduced, 1 not testable at this scale.")
    for verdict, look in (("reproduced", "good"), ("not reproduced", "bad")):
        assert page.count(f'<td class="verdict {look}">{verdict}</td>') == VERDICTS.count(verdict)
    one_kind = claims_page(claims_table(["reproduced"]), "paper")
    assert "1 reproduced" in one_kind
    assert "not reproduced" not in one_kind
    assert cells(claims_page(claims_table([]), "smoke")) == []


def test_texts_are_not_taken_for_markup() -> None:
    text = "<script>alert('a & b')</script>"
    page = claims_page(claims_table(["reproduced"], claim=text, measured=text), "laptop")
    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert(&#39;a &amp; b&#39;)&lt;/script&gt;") == 2


# Provenance

FIGURE = Identity("figure", "mine_fig1", {"key": "mine_fig1"}, "code of the figure", {})
TABLE = Identity("table", "mine_fig1-squares", {"n": 3}, "code of the table", {})


@pytest.fixture
def plan() -> Plan:
    """A figure with a table that is computed."""
    request = FigureRequest("mine", "fig1", "Squares < cubes", "Someone 2020", (), {}, ())
    stamp = {"scale": "laptop", "source": "Someone 2020", "deviations": ["width 8 (paper: 32)"]}
    table = PlannedTable(TABLE, Component("squares"), (), ())
    return Plan("laptop", {"mine_fig1": PlannedFigure(FIGURE, request, stamp, {"t": table}, None)})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Both products of the plan."""
    for identity in (FIGURE, TABLE):
        with product_writer(tmp_path / identity.folder, identity) as product:
            (product.aside / "numbers.txt").write_text("0 1 4")
    return tmp_path


def rewrite(folder: Path, **given: Any) -> None:
    """Change the provenance of a product."""
    path = folder / PROVENANCE
    path.write_text(json.dumps(json.loads(path.read_text()) | given))


def test_a_figure_of_no_paper_is_compared_with_none(plan: Plan, store: Path) -> None:
    (figure,) = plan.figures.values()
    assert "Differing from the paper" in provenance_page(plan, store)
    own = replace(figure, stamp={"scale": "laptop", "source": "mine: Does it?"})
    page = provenance_page(Plan("laptop", {"mine_fig1": own}), store)
    assert "mine: Does it? Scale: laptop." in " ".join(page.split())
    assert "Differing from the paper" not in page


def test_every_product_of_a_figure_is_told(plan: Plan, store: Path) -> None:
    rewrite(
        store / TABLE.folder,
        versions={"python": "3.12.1", "numpy": "2.1.0"},
        hardware={"processor": "A CPU", "cores": "4", "gpu": "A GPU"},
        details={"seed": 7, "epochs": 300, "stopped_at_step": 12, "other": 5},
        started="2026-01-02T03:04:05Z",
        wall_time_s=12.34,
        git={"commit": "0123456789abcdef", "dirty": True},
    )
    rewrite(store / FIGURE.folder, hardware={"processor": "A CPU", "cores": "4"})
    page = provenance_page(plan, store)
    assert "mine_fig1: Squares &lt; cubes" in page
    assert "Someone 2020. Scale: laptop" in " ".join(page.split())
    assert "width 8 (paper: 32)" in page
    figure, table = cells(page)
    assert figure[0] == f"figure||mine_fig1-{FIGURE.digest}|"
    assert figure[3] == "A CPU, 4 cores"
    assert table == [
        f"table||mine_fig1-squares-{TABLE.digest}|",
        "epochs 300, seed 7, loss not finite at step 12",
        "2026-01-02T03:04:05Z|12.3 s",
        "A GPU",
        "numpy 2.1.0, python 3.12.1",
        "|code of the table|||commit 0123456789 with changes|",
    ]


def test_several_versions_are_told(plan: Plan, store: Path) -> None:
    assert "several versions" not in provenance_page(plan, store)
    rewrite(store / TABLE.folder, versions={"numpy": "1.0.0"})
    page = provenance_page(plan, store)
    assert "several versions of: numpy 1.0.0 (1), " in page


def test_several_versions_in_words(store: Path) -> None:
    one = read_provenance(store / TABLE.folder)

    def products(*versions: dict[str, str]) -> list[Any]:
        return [type(one)(**{**vars(one), "versions": each}) for each in versions]

    new, old = {"torch": "2.12.1", "numpy": "2.1.0"}, {"torch": "2.11.0", "numpy": "2.1.0"}
    assert mixed_versions([]) == []
    assert mixed_versions(products(new, new)) == []
    assert mixed_versions(products(new, old, new)) == ["torch 2.11.0 (1), 2.12.1 (2)"]
    # A product that was made without a package has no other version of it.
    assert mixed_versions(products(new, {"numpy": "2.1.0"})) == []
    other = {"torch": "2.11.0", "numpy": "2.2.0"}
    assert mixed_versions(products(new, other)) == [
        "numpy 2.1.0 (1), 2.2.0 (1)",
        "torch 2.11.0 (1), 2.12.1 (1)",
    ]


def test_a_product_without_provenance_is_refused(plan: Plan, store: Path) -> None:
    path = store / TABLE.folder / PROVENANCE
    path.unlink()
    with pytest.raises(PerigeeError, match=r"provenance\.json is missing or damaged") as caught:
        provenance_page(plan, store)
    assert str(path) in str(caught.value)


def test_the_pages_version_is_of_all_provenance(plan: Plan, store: Path) -> None:
    first = pages_version(plan, store)
    assert first is not None
    assert pages_version(plan, store) == first
    found = {first}
    for identity in (FIGURE, TABLE):
        rewrite(store / identity.folder, wall_time_s=1234.5)
        found.add(pages_version(plan, store))
    assert len(found) == 3
    (store / TABLE.folder / PROVENANCE).unlink()
    assert pages_version(plan, store) is None


# Publications

DIGEST = "0123456789abcdef"


def edit(folder: Path) -> None:
    (folder / "claims.html").write_text("other")


def delete(folder: Path) -> None:
    (folder / "claims.html").unlink()


def damage_the_note(folder: Path) -> None:
    (note,) = (folder / ".version").iterdir()
    note.write_text("{")


def withdraw(folder: Path) -> None:
    publication(folder).withdraw()


def publication(folder: Path, name: str = "pages") -> Publication:
    return Publication(folder, name, ["claims.html", "provenance.html"])


@pytest.mark.parametrize("change", [edit, delete, damage_the_note, withdraw])
def test_a_publication_is_current_until_something_changes(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    assert not publication(tmp_path).is_current(DIGEST)
    for path in publication(tmp_path).paths:
        path.write_text(path.name)
    assert not publication(tmp_path).is_current(DIGEST)
    publication(tmp_path).confirm(DIGEST)
    assert publication(tmp_path).is_current(DIGEST)
    assert not publication(tmp_path).is_current(DIGEST[::-1])
    assert not publication(tmp_path, "others").is_current(DIGEST)
    change(tmp_path)
    assert not publication(tmp_path).is_current(DIGEST)


def test_files_as_they_were_are_current_again(tmp_path: Path) -> None:
    """It goes by content, not by time."""
    for path in publication(tmp_path).paths:
        path.write_text(path.name)
    publication(tmp_path).confirm(DIGEST)
    edit(tmp_path)
    (tmp_path / "claims.html").write_text("claims.html")
    assert publication(tmp_path).is_current(DIGEST)
    publication(tmp_path).withdraw()
    publication(tmp_path).withdraw()
    publication(tmp_path).confirm(DIGEST[::-1])
    assert publication(tmp_path).is_current(DIGEST[::-1])
    assert not publication(tmp_path).is_current(DIGEST)
