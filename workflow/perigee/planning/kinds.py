"""The kinds of runs that are still to be trained, one run of each of which is calibrated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from perigee.planning.absent_images import tell_left_out
from perigee.planning.forecast import trainings
from perigee.planning.layout import Layout
from perigee.planning.products import FigureProduct, RunProduct
from perigee.planning.shapes import canonical, shape_of

CALIBRATION = "calibrate"
"""The beginning of the names of a calibration's spec and receipt."""


@dataclass(frozen=True)
class Kind:
    """Runs whose training costs the same: of one shape, with the same measures.

    Attributes:
        run: the run that is measured, the one of the lowest rate: it diverges last.
        runs: how many runs there are.
        steps: the steps of all of them, from their first epoch on.
    """

    run: RunProduct
    runs: int
    steps: int

    def told(self, store: Path) -> dict[str, Any]:
        """The run and its measures, how many there are, and the folder of its data set."""
        told = self.run.told(store)
        spec = {key: value for key, value in told["run"].items() if key != "parent"}
        return {
            "name": self.run.identity.name,
            "run": spec,  # a fork's steps cost the same from its initialisation on
            "measures": told["measures"],
            "dataset": told["dataset"],
            "runs": self.runs,
        }


@cache
def kinds(layout: Layout, targets: tuple[str, ...]) -> list[Kind]:
    """The kinds of the runs that targets still need trained, in the order of the plan.

    Figures whose images are absent are left out, with a sentence for each.

    Args:
        layout: the plan's layout, newly made, since it depends on the store's contents.
        targets: targets that stand for figures.

    Raises:
        SystemExit: a target is a figure whose images are absent.
    """
    figures: dict[str, FigureProduct] = {}
    for name in targets:
        tell_left_out(name, layout.named[name], layout.absent)
        keys = (key for key in layout.named[name] if key not in layout.absent)
        figures |= {key: layout.plan.figures[key] for key in keys}
    # Their cost is not asked, so no record is read.
    return kinds_of(layout.runs[folder] for folder in trainings(layout, figures.values(), []))


def kinds_of(runs: Iterable[RunProduct]) -> list[Kind]:
    """The kinds among some runs, in their order."""
    found: dict[tuple[str, tuple[str, ...]], list[RunProduct]] = {}
    for run in runs:
        measures = canonical(measure.to_dict() for measure in run.measures)
        found.setdefault((shape_of(run.spec.to_dict()), measures), []).append(run)
    return [
        Kind(
            min(alike, key=_rate),
            len(alike),
            sum(run.epochs * run.steps_per_epoch for run in alike),
        )
        for alike in found.values()
    ]


def calibration_inputs(layout: Layout, targets: Iterable[str]) -> list[str]:
    """The receipts of the data sets that a calibration of some targets' runs waits for."""
    runs = [kind.run for kind in kinds(layout, tuple(targets))]
    return layout.receipts_of({run.dataset.folder: run.dataset for run in runs}.values())


def calibration_receipt(layout: Layout, targets: Iterable[str]) -> list[str]:
    """The receipt of the job that calibrates some targets' runs; none if there are none.

    It has the name of the file with what the job is told, ``<specs>/calibrate.<digest>.json``,
    which the job thus finds on another machine, too.
    """
    told = [kind.told(Path(layout.store)) for kind in kinds(layout, tuple(targets))]
    if not told:
        return []
    return [layout.receipts.of(Path(layout.told(CALIBRATION, {"kinds": told})).stem)]


def _rate(run: RunProduct) -> float:
    rule = run.spec.optimiser
    return float(getattr(rule, rule.rate_name))
