"""Rules for the epoch of its parent at which a fork starts."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Count, NotNegativeInteger
from perigee.blocks.measures import Measure, Metrics


class Fork(Block, kind="fork"):
    """A rule that finds an epoch from the parent's measures.

    Attributes:
        reads: the measures of the parent that it reads.
    """

    reads: ClassVar[tuple[type[Measure], ...]] = ()


class AtEpoch(Fork, name="at_epoch", code="perigee.analysis.forks:at_epoch"):
    """The epoch itself.

    Attributes:
        epoch: of the parent's checkpoint; 0 is its initialisation.
    """

    epoch: NotNegativeInteger


class BeforeDestabilisation(
    Fork, name="before_destabilisation", code="perigee.analysis.forks:before_destabilisation"
):
    """A number of epochs before the weight norm begins to rise in a destabilisation.

    Attributes:
        epochs: how many epochs before.
        number: number of the destabilisation, from 1.
    """

    reads: ClassVar = (Metrics,)

    epochs: NotNegativeInteger
    number: Count = 1
