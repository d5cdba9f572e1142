"""Rules for the epoch of its parent at which a run starts."""

from __future__ import annotations

from typing import ClassVar

from perigee.blocks.base import Block, Count, NotNegativeInteger
from perigee.blocks.measures import Measure, Metrics


class Fork(Block):
    """A rule, resolved on the parent's measured course.

    Attributes:
        reads: measures of the parent that it looks at.
    """

    kind: ClassVar[str] = "fork"
    reads: ClassVar[tuple[type[Measure], ...]] = ()


class AtEpoch(Fork):
    """The epoch itself."""

    name: ClassVar[str] = "at_epoch"
    code: ClassVar[str] = "perigee.analysis.forks:at_epoch"

    epoch: NotNegativeInteger


class BeforeDestabilisation(Fork):
    """Some epochs before the weight norm begins to rise in a destabilisation.

    Attributes:
        epochs: how many.
        number: of the destabilisation, from 1.
    """

    name: ClassVar[str] = "before_destabilisation"
    code: ClassVar[str] = "perigee.analysis.forks:before_destabilisation"
    reads: ClassVar = (Metrics,)

    epochs: NotNegativeInteger
    number: Count = 1
