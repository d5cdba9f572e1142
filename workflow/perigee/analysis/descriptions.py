"""Descriptions of the rows of a run's measures."""

from __future__ import annotations

import json
from typing import Any

from perigee.analysis.inputs import RunInput
from perigee.store.provenance import PROVENANCE


def description(run: RunInput, measure: str) -> dict[str, Any]:
    """The description of a measure's rows in its provenance, such as the names of layers."""
    text = (run.measures[measure] / PROVENANCE).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)["details"]["description"]
    return found
