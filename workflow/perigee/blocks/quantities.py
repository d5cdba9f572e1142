"""Quantities that claims are made about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from perigee.blocks.base import Block, NotNegativeInteger, Positive, Positives, Rows, Share

Statistic = Literal["first", "last", "minimum", "maximum", "mean", "median"]


@dataclass(frozen=True)
class Setting:
    """Marks a parameter that is a setting of runs: a claim gives it by the name a sweep has.

    Attributes:
        column: the setting, by dotted key.
        several: whether the parameter is a list.
        of_runs: whether it is the runs' own value if a claim does not give it.
    """

    column: str
    several: bool = False
    of_runs: bool = False

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        names = {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}
        return {"anyOf": [handler(schema), names if self.several else {"type": "string"}]}


class RowsOf:
    """Marks a parameter that tells rows by settings, by dotted key."""


Rate = Annotated[Positive, Setting("optimiser.learning_rate")]
Rates = Annotated[Positives, Setting("optimiser.learning_rate", several=True)]
WeightDecay = Annotated[Positive, Setting("optimiser.weight_decay", of_runs=True)]
SomeRows = Annotated[Rows, RowsOf()]


def settings_of(model: type[BaseModel] | None) -> dict[str, Setting | RowsOf]:
    """The marked parameters of a quantity; none of a model that is not known."""
    fields = model.model_fields if model else {}
    marks = {
        name: [m for m in f.metadata if isinstance(m, Setting | RowsOf)]
        for name, f in fields.items()
    }
    return {name: found[0] for name, found in marks.items() if found}


class Quantity(Block, kind="quantity"):
    """A number measured on a table.

    Attributes:
        reads_runs: whether its table must be made from runs.
        finds_periods: whether it finds destabilisations itself, by the train loss.
    """

    reads_runs: ClassVar[bool] = True
    finds_periods: ClassVar[bool] = False


class OfPeriods(Quantity):
    """A quantity of destabilisations."""

    finds_periods: ClassVar[bool] = True


class TwoRates(OfPeriods):
    """A comparison of two learning rates.

    Attributes:
        higher: the higher of the two learning rates, by its name in the sweep.
        lower: the lower one.
    """

    higher: Rate
    lower: Rate


class ColumnRatio(Quantity, name="column_ratio", code="perigee.claims.columns:column_ratio"):
    """The ratio of a statistic of a column over some rows to that over others.

    Attributes:
        column: the column's name.
        statistic: what is taken of its values.
        over: the rows above the fraction's line: column -> value.
        under: the rows below it.
    """

    reads_runs: ClassVar[bool] = False

    column: str
    statistic: Statistic
    over: SomeRows
    under: SomeRows


class ColumnStatistic(
    Quantity, name="column_statistic", code="perigee.claims.columns:column_statistic"
):
    """A statistic of a column.

    Attributes:
        column: the column's name.
        statistic: what is taken of its values.
        where: the rows that count: column -> value; all of them if not given.
        last_fraction: the last part of those rows that counts.
    """

    reads_runs: ClassVar[bool] = False

    column: str
    statistic: Statistic
    where: SomeRows = Field(default_factory=dict)
    last_fraction: Share = 1.0


class DestabilisationCount(
    OfPeriods, name="destabilisation_count", code="perigee.claims.destabilisations:count"
):
    """How often training destabilises.

    Attributes:
        learning_rates: of the runs that count, by their names in the sweep.
        statistic: of the runs' numbers.
    """

    learning_rates: Rates
    statistic: Literal["minimum", "maximum"]


class DestabilisationCountRatio(
    TwoRates, name="destabilisation_count_ratio", code="perigee.claims.destabilisations:count_ratio"
):
    """The ratio of the numbers of destabilisations at a higher and a lower rate."""


class DestabilisationNormRatio(
    TwoRates, name="destabilisation_norm_ratio", code="perigee.claims.destabilisations:norm_ratio"
):
    """The ratio of the weight norms at destabilisations of a higher and a lower rate."""


class WarmUpRatio(
    TwoRates, name="warm_up_ratio", code="perigee.claims.destabilisations:warm_up_ratio"
):
    """The ratio of the warm-up stages' lengths at a lower and a higher rate."""


class WarmUpTestErrorRatio(
    OfPeriods,
    name="warm_up_test_error_ratio",
    code="perigee.claims.destabilisations:warm_up_test_error_ratio",
):
    """The test error after a destabilisation of the warm-up stage over that before.

    Attributes:
        learning_rates: of the runs that count, by their names in the sweep.
    """

    learning_rates: Rates


class SettledFraction(
    Quantity, name="settled_fraction", code="perigee.claims.theory:settled_fraction"
):
    """The share of epochs at which the squared norm lies in Proposition 3's interval.

    Attributes:
        learning_rates: of the runs that count, by their names in the sweep.
        weight_decay: lambda; that of the table's runs if not given.
    """

    learning_rates: Rates
    weight_decay: WeightDecay


class NormPredictionError(
    Quantity, name="norm_prediction_error", code="perigee.claims.theory:norm_prediction_error"
):
    """How far the norm of each step is from eq. (3).

    Attributes:
        weight_decay: lambda; that of the table's runs if not given.
    """

    weight_decay: WeightDecay


class JumpConditionError(
    Quantity, name="jump_condition_error", code="perigee.claims.theory:jump_condition_error"
):
    """The largest error of Proposition 1's condition for a jump."""


class JumpDelay(Quantity, name="jump_delay", code="perigee.claims.theory:jump_delay"):
    """How much later than Proposition 2's time the largest jump comes.

    Attributes:
        weight_decay: lambda; that of the table's runs if not given.
    """

    weight_decay: WeightDecay


class NormOnsetAfterLossOnset(
    Quantity,
    name="norm_onset_after_loss_onset",
    code="perigee.claims.phases:norm_onset_after_loss_onset",
):
    """The number of steps by which the loss rises before the norm."""


class GrowthLateInPhaseB(
    Quantity, name="growth_late_in_phase_b", code="perigee.claims.phases:growth_late_in_phase_b"
):
    """How much a column grows in the second half of phase B.

    Attributes:
        column: the column's name.
    """

    column: str


class EnsembleGainShare(
    Quantity, name="ensemble_gain_share", code="perigee.claims.similarity:ensemble_gain_share"
):
    """The gain of an ensemble as a share of that of independent networks.

    Attributes:
        period: the anchor's own, or the last.
    """

    period: Literal["anchor", "last"]


class SimilarityExcess(
    Quantity, name="similarity_excess", code="perigee.claims.similarity:similarity_excess"
):
    """How much more similar checkpoints are than independent ones.

    Attributes:
        period: counted from the anchor's, which is 0.
    """

    period: NotNegativeInteger


class SimilarityInLastPeriod(
    Quantity,
    name="similarity_in_last_period",
    code="perigee.claims.similarity:similarity_in_last_period",
):
    """The similarity in the last period."""


class SimilarityTrend(
    Quantity, name="similarity_trend", code="perigee.claims.similarity:similarity_trend"
):
    """The trend of similarity over periods."""


class SimilarityWithinPeriod(
    Quantity,
    name="similarity_within_period",
    code="perigee.claims.similarity:similarity_within_period",
):
    """The similarity inside the anchor's period."""
