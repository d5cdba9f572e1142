"""Write the pages of the report: figures with verdicts, claims, provenance."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from perigee.cli import Figures, LogFile, Papers, Results, Scale, Seeds
from perigee.planning.pages import PAGES, pages_version
from perigee.planning.plan import plan_of_options
from perigee.reporting.pages import claims_page, index_page, provenance_page
from perigee.store.publishing import Publication
from perigee.store.writing import write_text_atomically


def main(
    claims: Annotated[Path, typer.Option(help="The table, e.g. results/laptop/claims.csv.")],
    out: Annotated[Path, typer.Option(help="Folder that gets index.html, pages/*.html.")],
    scale: Scale = None,
    papers: Papers = None,
    results: Results = None,
    seeds: Seeds = None,
    figures: Figures = None,
    log: LogFile = None,
) -> None:
    """Write the pages of the report: figures with verdicts, claims, provenance.

    Options that are not given are taken from config/config.yaml.
    """
    plan, store, _ = plan_of_options(scale, papers, results, seeds)
    plan = plan.of_figures(figures) if figures else plan.of_papers
    judged = pd.read_csv(claims, dtype=str, keep_default_na=False)
    texts = (
        index_page(plan, store, out),
        claims_page(judged, plan.scale),
        provenance_page(plan, store),
    )
    publication = Publication(out, "pages", PAGES)
    publication.withdraw()
    for path, text in zip(publication.paths, texts, strict=True):
        write_text_atomically(path, text)
    publication.confirm(pages_version(plan, store) or "")
