"""Rules for the epoch of its parent at which a fork starts."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Count, NotNegativeInteger
from perigee.blocks.measures import Checkpoints, Measure, Metrics


class Fork(Block, kind="fork"):
    """A rule that finds an epoch from the parent's measures.

    Attributes:
        reads: the measures of the parent that it reads.
    """

    reads: ClassVar[tuple[type[Measure], ...]] = ()

    @property
    def checkpoints(self) -> Checkpoints:
        """The parent's checkpoints that it may choose: those of every epoch."""
        return Checkpoints()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All measures of the parent that a fork needs."""
        return (*(read() for read in self.reads), self.checkpoints)


class AtEpoch(Fork, name="at_epoch", code="perigee.analysis.forks:at_epoch"):
    """The epoch itself.

    Attributes:
        epoch: of the parent's checkpoint; 0 is its initialisation.
    """

    epoch: NotNegativeInteger

    @property
    def checkpoints(self) -> Checkpoints:
        """The fewest that an interval leaves, among them that of the epoch."""
        return Checkpoints(interval=self.epoch or 1)


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
