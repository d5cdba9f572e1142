"""The report's pages, and how published files are known to be current."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from perigee import registry
from perigee.blocks.measures import Metrics, Steps
from perigee.claims.outcomes import COLUMNS
from perigee.configuration.requests import FigureRequest, Note
from perigee.errors import PerigeeError
from perigee.identity.products import Identity, measure_identity
from perigee.paths import CAPTIONS
from perigee.planning.pages import folders_of, pages_version
from perigee.planning.plan import Plan
from perigee.planning.products import (
    ClaimsProduct,
    DatasetProduct,
    FigureProduct,
    RunProduct,
    TableEntry,
    TableProduct,
)
from perigee.reporting.pages import claims_page, index_page, mixed_versions, provenance_page
from perigee.spec import Claim, RunSpec
from perigee.store.figures import published_figure, published_names
from perigee.store.provenance import PROVENANCE, read_provenance
from perigee.store.publishing import Publication
from perigee.store.runs import ROWS, RUN_FILES
from perigee.store.writing import product_writer

# Claims

VERDICTS = ["reproduced"] * 3 + ["contradicted"] * 2 + ["not testable at this scale"]
SUMMARY = (
    "Of 6 empirical claims: 3 reproduced, 2 contradicted, 0 inconclusive, 0 nothing to measure, "
    "1 not testable at this scale."
)


def claims_table(verdicts: list[str], **given: str) -> pd.DataFrame:
    rows = [
        {column: f"{column} of claim {number}" for column in COLUMNS} | given | {"verdict": verdict}
        for number, verdict in enumerate(verdicts)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def cells(page: str) -> list[list[str]]:
    """The texts of the rows of a page's table, markup left out."""
    _, _, body = page.partition("<tbody>")
    rows = re.findall(r"<tr.*?>(.*?)</tr>", body, flags=re.DOTALL)
    return [
        [re.sub(r"<.*?>", "|", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]
        for row in rows
    ]


def test_the_page_shows_every_claim() -> None:
    shown = [
        [re.sub(r"\|+", lambda found: found[0][:2], cell) for cell in row]
        for row in cells(claims_page(claims_table(VERDICTS), "laptop"))
    ]
    assert len(shown) == len(VERDICTS)
    for number, (row, verdict) in enumerate(zip(shown, VERDICTS, strict=True)):
        each = {column: f"{column} of claim {number}" for column in COLUMNS}
        assert row == [
            f"{each['paper']}_{each['figure']}",
            f"{each['claim']}||{each['source']}|",
            f"|{each['quantity']}||{each['kind']}, by {each['unit']}|",
            each["expected"],
            each["estimate"],
            each["interval"],
            each["fulfilled"],
            each["measured_seeds"],
            each["premise"],
            f"|{verdict}||seen: {each['seen']}; locked {each['locked']}|",
        ]


def test_the_page_counts_the_verdicts_and_names_the_scale() -> None:
    page = claims_page(claims_table(VERDICTS), "laptop")
    summary = " ".join(re.sub(r"<.*?>", "", page.partition("<table>")[0]).split())
    assert "Judged at laptop scale" in summary
    assert summary.endswith(SUMMARY)
    for verdict, look in (("reproduced", "good"), ("contradicted", "bad")):
        shown = page.count(f'<span class="verdict {look}">{verdict}</span>')
        assert shown == VERDICTS.count(verdict)
    assert "Of 1 empirical claim: 1 reproduced" in claims_page(
        claims_table(["reproduced"]), "paper"
    )
    assert cells(claims_page(claims_table([]), "smoke")) == []


def test_identities_stand_in_a_table_of_their_own() -> None:
    empirical = claims_table(VERDICTS)
    identities = claims_table(["holds", "violated"], kind="identity", paper="p", figure="fig1")
    page = claims_page(pd.concat([empirical, identities]), "laptop")
    assert page.count("<table>") == 2
    assert f"{SUMMARY} Of 2 identities: 1 holds, 1 violated." in " ".join(page.split())
    _, _, last = page.rpartition("<table>")
    assert [row[0] for row in cells(last)] == ["p_fig1"] * 2
    assert 'id="identities_p_fig1"' in last
    alone = claims_page(identities, "laptop")
    assert alone.count("<table>") == 1


def test_a_rule_that_is_not_locked_is_shown_as_such() -> None:
    page = claims_page(claims_table(["reproduced"], seen="", locked="not locked"), "laptop")
    assert '<span class="note">not locked</span>' in page


def test_texts_are_not_taken_for_markup() -> None:
    text = "<script>alert('a & b')</script>"
    page = claims_page(claims_table(["reproduced"], claim=text, estimate=text), "laptop")
    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert(&#39;a &amp; b&#39;)&lt;/script&gt;") == 2


# Provenance

KEY = "periodic_fig2"
"""A figure that has a notebook, whose code is part of its identity."""

ANALYSIS = registry.make(
    "analysis", {"name": "toy_gradient_identities", "points": 2, "factors": [3.0], "seed": 0}
)
TABLE = TableProduct(f"{KEY}-numbers", ANALYSIS)  # type: ignore[arg-type]
REQUEST = FigureRequest("periodic", "fig2", "Squares < cubes", "Someone 2020", (), (), ())
STAMP = {"scale": "laptop", "source": "Someone 2020", "deviations": ["width 8 (paper: 32)"]}
FIGURE = FigureProduct(REQUEST, STAMP, {"numbers": TABLE}, None)


@pytest.fixture
def plan() -> Plan:
    """A figure with a table that is computed."""
    return Plan("laptop", {KEY: FIGURE})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Both products of the plan."""
    for made in (FIGURE, TABLE):
        write(tmp_path / made.folder, made.identity)
    return tmp_path


def write(folder: Path, identity: Identity, *files: str) -> None:
    """A product with files of one text."""
    with product_writer(folder, identity) as aside:
        for name in files or ("numbers.txt",):
            (aside / name).write_text("0 1 4")


def rewrite(folder: Path, **given: Any) -> None:
    """Change the provenance of a product."""
    path = folder / PROVENANCE
    path.write_text(json.dumps(json.loads(path.read_text()) | given))


def test_a_figure_of_no_paper_is_compared_with_none(plan: Plan, store: Path) -> None:
    assert "Differing from the paper" in provenance_page(plan, store)
    own = replace(FIGURE, stamp={"scale": "laptop", "source": "mine: Does it?"})
    write(store / own.folder, own.identity)
    page = provenance_page(Plan("laptop", {KEY: own}), store)
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
    assert f"{KEY}: Squares &lt; cubes" in page
    assert "Someone 2020. Scale: laptop" in " ".join(page.split())
    assert "width 8 (paper: 32)" in page
    figure, table = cells(page)
    assert figure[0] == f"figure||{FIGURE.identity.label}|"
    assert figure[3] == "A CPU, 4 cores"
    assert table == [
        f"table||{TABLE.identity.label}|",
        "epochs 300, seed 7, loss not finite at step 12",
        "2026-01-02T03:04:05Z|12.3 s",
        "A GPU",
        "numpy 2.1.0, python 3.12.1",
        f"|{TABLE.identity.code}|||commit 0123456789 with changes|",
    ]


def test_a_run_is_told_as_it_lies_in_the_store(store: Path) -> None:
    """The run is read from a longer version; the measures listed are those of the table."""
    spec = RunSpec.from_dict(
        {
            "dataset": {"name": "digits"},
            "model": {"name": "convnet", "width": 1, "scale_invariant": True},
            "optimiser": {"name": "sgd", "learning_rate": 0.1},
            "batch_size": 100,
            "seed": 0,
        }
    )
    run = RunProduct(spec, DatasetProduct(spec.dataset), 2, (Metrics(),))
    table = replace(TABLE, entries=(TableEntry(run, {}),))
    figure = replace(FIGURE, tables={"numbers": table})
    others = [one.folder for one in (figure, table, run.dataset)]
    assert sorted(folders_of(figure, store)) == sorted([*others, run.folder])
    version = f"{run.identity.folder}/e5"
    write(store / version, run.identity, *RUN_FILES[:-1])
    for measure in (Metrics(), Steps()):
        identity = measure_identity(measure, run.identity)
        write(store / version / identity.label, identity, ROWS)
    (measured,) = run.measure_identities.values()
    expected = sorted([*others, version, f"{version}/{measured.label}"])
    assert sorted(folders_of(figure, store)) == expected
    for one in (figure, table, run.dataset):
        write(store / one.folder, one.identity)
    page = provenance_page(Plan("laptop", {KEY: figure}), store)
    assert [row[0].partition("|")[0] for row in cells(page)].count("measure") == 1


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
    for product in (FIGURE, TABLE):
        rewrite(store / product.folder, wall_time_s=1234.5)
        found.add(pages_version(plan, store))
    assert len(found) == 3
    (store / TABLE.folder / PROVENANCE).unlink()
    assert pages_version(plan, store) is None


def test_the_pages_version_covers_titles_and_templates(
    plan: Plan, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Prose changes the pages alone."""
    first = pages_version(plan, store)
    renamed = replace(FIGURE, request=replace(REQUEST, title="Another"))
    assert renamed.identity.digest == FIGURE.identity.digest
    assert pages_version(Plan("laptop", {KEY: renamed}), store) != first
    shutil.copytree(CAPTIONS, tmp_path / "report")
    monkeypatch.setattr("perigee.planning.pages.CAPTIONS", tmp_path / "report")
    assert pages_version(plan, store) == first
    with (tmp_path / "report/index.html.j2").open("a") as file:
        file.write("<!-- more -->")
    assert pages_version(plan, store) != first


# The page of figures


@pytest.fixture
def folder(store: Path) -> Path:
    """results/laptop with the published figure, whose picture is red."""
    made = store / "laptop"
    files = published_figure(made / "figures", KEY)
    (made / "figures").mkdir(parents=True)
    for path in files.paths:
        path.write_text(path.name)
    Image.new("RGB", (3000, 600), "red").save(made / "figures" / f"{KEY}.png")
    files.confirm(FIGURE.identity.digest)
    return made


def text(page: str) -> str:
    """The text of a page, without markup and styles."""
    return " ".join(re.sub(r"<.*?>", " ", page.partition("<body>")[2], flags=re.DOTALL).split())


def test_a_figure_is_shown_with_its_links(plan: Plan, store: Path, folder: Path) -> None:
    page = index_page(plan, store, folder)
    assert f"{KEY}: Squares &lt; cubes" in text(page)
    assert "Someone 2020" in text(page)
    assert "no claims" in text(page)
    assert "not made yet" not in page
    for file in published_names(KEY):
        assert f'href="figures/{file}"' in page
    assert f'href="pages/provenance.html#{KEY}"' in page
    (picture,) = re.findall(r'src="data:image/webp;base64,(.*?)"', page)
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert image.size == (1400, 280)
        assert image.getpixel((700, 140)) == pytest.approx((255, 0, 0), abs=3)


def test_a_figure_that_is_missing_or_of_another_version_is_not_made_yet(
    plan: Plan, store: Path, folder: Path
) -> None:
    published_figure(folder / "figures", KEY).confirm("0123456789abcdef")
    for page in (index_page(plan, store, folder), index_page(plan, store, store / "elsewhere")):
        assert "not made yet" in text(page)
        assert "Figures made: 0 of 1" in text(page)
        assert "<img" not in page
        assert 'href="figures' not in page


def test_pages_that_are_missing_are_not_linked(plan: Plan, store: Path, folder: Path) -> None:
    assert "pages/" not in index_page(plan, store, folder, complete=False)


def test_verdicts_are_counted_and_stand_beside_the_claims(store: Path, folder: Path) -> None:
    claims = tuple(
        Claim.from_dict(
            {
                "name": f"claim{number}",
                "says": f"Says {number} < {number + 1}.",
                "source": "Figure 2",
                "kind": "rate",
                "unit": "step",
                "table": "numbers",
                "quantity": {"name": "jump_condition_error"},
                "relation": "at_least",
                "bound": 1.0,
                "testable": True,
            }
        )
        for number in range(len(VERDICTS))
    )
    request = replace(REQUEST, claims=claims)
    judged = ClaimsProduct(request, {"numbers": TABLE})
    figure = replace(FIGURE, request=request, claims=judged)
    plan = Plan("laptop", {KEY: figure})
    page = text(index_page(plan, store, folder))
    assert "6 claims, not judged yet" in page
    assert "No claim has been judged yet" in page
    rows = claims_table(VERDICTS, kind="rate", fulfilled="7/8").assign(
        claim=[claim.name for claim in claims]
    )
    with product_writer(store / judged.folder, judged.identity) as aside:
        rows.to_csv(aside / "claims.csv", index=False)
    page = index_page(plan, store, folder)
    shown = text(page)
    counts = "3 reproduced , 2 contradicted , 1 not testable at this scale"
    assert SUMMARY in shown
    assert shown.count(f"6 claims: {counts}") == 2
    for number, look in enumerate(["good"] * 3 + ["bad"] * 2 + ["open"]):
        title = VERDICTS[number]
        said = f"Says {number} &lt; {number + 1}."
        assert f'<li class="{look}" title="{title}"><span class="text">{said}</span>' in page


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


def test_what_is_our_choice_is_told(store: Path) -> None:
    notes = (
        Note("runs.base.model.width", 8, "Not <given>.", False, (), "paper.yaml"),
        Note("claims.falls.expected", None, "It fell.", True, (0, 100), "claims/fig2.yaml"),
    )
    noted = replace(FIGURE, request=replace(REQUEST, notes=notes))
    page = provenance_page(Plan("laptop", {KEY: noted}), store)
    assert "runs.base.model.width: 8" in page
    assert "Not &lt;given&gt;." in page
    assert "Set in view of seeds 0, 100. It fell." in page
    assert "our choice" not in provenance_page(Plan("laptop", {KEY: FIGURE}), store)
    versions = [pages_version(Plan("laptop", {KEY: one}), store) for one in (FIGURE, noted)]
    assert versions[0] != versions[1]
