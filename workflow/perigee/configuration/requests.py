"""Requests of a configuration: figures, their tables, and the runs these read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perigee.blocks.analyses import Analysis
from perigee.blocks.measures import ThinnedLayers
from perigee.blocks.recomputed import TestStatistics
from perigee.paths import STUDY
from perigee.spec import Claim, RunSpec


@dataclass(frozen=True)
class RunRequest:
    """A run that a table needs.

    Attributes:
        spec: the run.
        epochs: how many of its epochs the table needs.
        swept: the values by which the table tells its runs apart, which are its columns: the swept
            ones, a label if there is one, and those of the spec that differ between the table's
            runs, e.g. ``{"label": "wide", "optimiser.learning_rate": 0.3, "seed": 0}``.
        checkpoint_interval: epochs from one kept checkpoint to the next; None keeps none.
        layers: what tables read in the place of the measure ``layers``; None if they read that.
    """

    spec: RunSpec
    epochs: int
    swept: Mapping[str, Any]
    checkpoint_interval: int | None = None
    layers: ThinnedLayers | None = None


@dataclass(frozen=True)
class TableRequest:
    """A table that a figure needs: an analysis with its parameters, and the runs it reads."""

    name: str
    analysis: Analysis
    runs: tuple[RunRequest, ...]


@dataclass(frozen=True)
class Note:
    """A value that is our choice, or that was set in view of results.

    Attributes:
        key: of the value, in its file.
        value: as it stands there.
        told: the reason for our choice, or what was seen.
        was_seen: whether the value was set in view of results.
        seeds: those in view; empty if that was not recorded.
        file: where the note stands.
    """

    key: str
    value: Any
    told: str
    was_seen: bool
    seeds: tuple[int, ...]
    file: str


@dataclass(frozen=True)
class FigureRequest:
    """A figure at one scale.

    Attributes:
        paper: e.g. "periodic".
        name: e.g. "fig3".
        title: a line for the report and messages.
        citation: the paper in short.
        tables: what the notebook reads.
        deviations: what the scale's overlays change of it, in words such as
            "width 8 (paper: 32)".
        claims: what the paper says of the figure.
        test_statistics: the BatchNorm statistics by which its runs are tested.
        outside_theorems: why its tables on equilibrium read runs that are outside the theorems; ""
            if it does not say so.
        parameters: those of its notebook, beside tables, folder and stamp.
        notes: values that are our choice, or that were set in view of results.
        file: where it stands, for messages.
    """

    paper: str
    name: str
    title: str
    citation: str
    tables: tuple[TableRequest, ...]
    deviations: tuple[str, ...]
    claims: tuple[Claim, ...]
    test_statistics: TestStatistics = "running"
    outside_theorems: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    file: str = ""

    @property
    def key(self) -> str:
        """The name outsiders use: <paper>_<figure>."""
        return f"{self.paper}_{self.name}"

    @property
    def is_own(self) -> bool:
        """True for the figure of a study of one's own, False for a paper's."""
        return self.paper == STUDY
