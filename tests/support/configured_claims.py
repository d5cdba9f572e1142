"""The configured claims, with the tables they are measured on, and kinds of examples for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

import pandas as pd
import pytest

from perigee.configuration.requests import FigureRequest, TableRequest
from perigee.planning.plan import read_requests
from perigee.spec import Claim
from support.configuration import SCALES

SHIPPED = ("label_smoothing", "precision")
"""The studies that come with the project; claims of a user's own need no examples here."""


def figures_of_all_studies(scale: str) -> list[FigureRequest]:
    _, requests = read_requests(["periodic", "regimes", "smd"], scale)
    return [one for one in requests if not one.is_own or one.name in SHIPPED]


Place = tuple[str, str]
"""A figure's key and a claim's name."""

FIGURES = {scale: figures_of_all_studies(scale) for scale in SCALES}
AT: dict[str, dict[Place, tuple[Claim, TableRequest]]] = {
    scale: {
        (figure.key, claim.name): (claim, table)
        for figure in figures
        for claim in figure.claims
        for table in figure.tables
        if table.name == claim.table
    }
    for scale, figures in FIGURES.items()
}
REQUESTS = {
    (figure.key, table.name): table for figure in FIGURES["laptop"] for table in figure.tables
}
"""The tables by the figure's key and their name."""
LAPTOP = AT["laptop"]


def each(places: Iterable[Place]) -> pytest.MarkDecorator:
    """The mark of a test of some claims.

    Tests of a claim run one after the other, so that a worker makes its tables once.
    """
    return pytest.mark.parametrize(
        "place", [pytest.param(place, id="-".join(place)) for place in places], scope="module"
    )


every_claim = each(LAPTOP)

Make = Callable[..., pd.DataFrame]
"""A maker of a claim's table; it takes ``seeds`` if the table is made from runs."""


@runtime_checkable
class OfRuns(Protocol):
    """Runs of which the tables are made by the figure's own analyses."""

    def table(self, name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
        """The table of that name."""


Example = Make | OfRuns
Pair = tuple[Make, Make]
"""A table that shows a phenomenon, and one that is as realistic and lacks it."""
