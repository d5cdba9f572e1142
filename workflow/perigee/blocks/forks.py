"""Rules for the epoch of its parent at which a fork starts."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from perigee.blocks.base import Block, Count, Integer, NotNegativeInteger, Number
from perigee.blocks.measures import Checkpoints, Measure, Metrics


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("not_zero", "must be 1 or more, or -1 or less")
    return value


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


class AtNormBeforeDestabilisation(
    Fork,
    name="at_norm_before_destabilisation",
    code="perigee.analysis.forks_by_norm:at_norm_before_destabilisation",
):
    """The last epoch before a destabilisation at which the norm is so much above its onset's.

    Attributes:
        factor: how many times the norm at the onset, at least 1.
        number: number of the destabilisation, from 1, or counted from the last one, which is -1;
            then it is the first if there are fewer.
    """

    reads: ClassVar = (Metrics,)

    factor: Annotated[Number, Ge(1)]
    number: Annotated[Integer, AfterValidator(_not_zero)] = 1
