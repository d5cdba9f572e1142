"""perigee.analysis.forks: the epoch that a rule finds on a parent's course."""

from __future__ import annotations

import pandas as pd
import pytest

from perigee.analysis.forks import at_epoch, before_destabilisation
from perigee.errors import PerigeeError
from support.signals import sawtooth


@pytest.fixture
def metrics() -> pd.DataFrame:
    """Two destabilisations: the losses start to rise at 39 and 97, the norms two epochs later."""
    signal = sawtooth([40, 50], 30, 2.0, 0.0, 0)
    assert [int(onset) for onset in signal.onsets] == [39, 97]
    return pd.DataFrame(
        {
            "epoch": range(len(signal.loss)),
            "train_loss": signal.loss,
            "weight_norm": signal.norm,
        }
    )


@pytest.mark.parametrize(("epochs", "number", "expected"), [(0, 1, 41), (20, 1, 21), (50, 2, 49)])
def test_some_epochs_before_a_destabilisation(
    metrics: pd.DataFrame, epochs: int, number: int, expected: int
) -> None:
    found = before_destabilisation(metrics, epochs=epochs, number=number)
    assert abs(found - expected) <= 1


def test_what_cannot_be_resolved_tells_the_parents_periods(metrics: pd.DataFrame) -> None:
    with pytest.raises(PerigeeError, match=r"its 2 destabilisations begin at epochs \d+, \d+ of"):
        before_destabilisation(metrics, epochs=5, number=3)
    with pytest.raises(PerigeeError, match="fewer epochs before it or name a later one"):
        before_destabilisation(metrics, epochs=60, number=1)
    with pytest.raises(PerigeeError, match="it has no destabilisation of"):
        before_destabilisation(metrics.iloc[:30], epochs=1, number=1)


def test_the_epoch_itself(metrics: pd.DataFrame) -> None:
    assert at_epoch(metrics, epoch=7) == 7
    last = len(metrics) - 1
    assert at_epoch(metrics, epoch=last) == last
    with pytest.raises(PerigeeError, match=f"ends at epoch {last}"):
        at_epoch(metrics, epoch=last + 1)
