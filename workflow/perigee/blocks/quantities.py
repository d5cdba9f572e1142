"""Quantities that claims are made about."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from perigee.blocks.base import Block, NotNegativeInteger, Positive, Positives, Rows, Share

Statistic = Literal["first", "last", "minimum", "maximum", "mean", "median"]


class Quantity(Block):
    """A number measured on a table.

    Attributes:
        reads_runs: whether its table has to be made from runs.
        finds_periods: whether it finds destabilisations itself, by the train loss.
    """

    kind: ClassVar[str] = "quantity"
    reads_runs: ClassVar[bool] = True
    finds_periods: ClassVar[bool] = False


class OfPeriods(Quantity):
    """A quantity of destabilisations."""

    finds_periods: ClassVar[bool] = True


class TwoRates(OfPeriods):
    """A comparison of two learning rates."""

    higher: Positive
    lower: Positive


class ColumnRatio(Quantity):
    """The ratio of a statistic of a column over some rows to that over others."""

    name: ClassVar[str] = "column_ratio"
    code: ClassVar[str] = "perigee.claims.columns:column_ratio"
    reads_runs: ClassVar[bool] = False

    column: str
    statistic: Statistic
    over: Rows
    under: Rows


class ColumnStatistic(Quantity):
    """A statistic of a column."""

    name: ClassVar[str] = "column_statistic"
    code: ClassVar[str] = "perigee.claims.columns:column_statistic"
    reads_runs: ClassVar[bool] = False

    column: str
    statistic: Statistic
    where: Rows = Field(default_factory=dict)
    last_fraction: Share = 1.0


class DestabilisationCount(OfPeriods):
    """How often training destabilises."""

    name: ClassVar[str] = "destabilisation_count"
    code: ClassVar[str] = "perigee.claims.destabilisations:count"

    learning_rates: Positives
    statistic: Literal["minimum", "maximum"]


class DestabilisationCountRatio(TwoRates):
    """How much more often training destabilises at a higher rate."""

    name: ClassVar[str] = "destabilisation_count_ratio"
    code: ClassVar[str] = "perigee.claims.destabilisations:count_ratio"


class DestabilisationNormRatio(TwoRates):
    """How much larger the weight norm is at destabilisations of a higher rate."""

    name: ClassVar[str] = "destabilisation_norm_ratio"
    code: ClassVar[str] = "perigee.claims.destabilisations:norm_ratio"


class WarmUpRatio(TwoRates):
    """How much longer the warm-up stage is at a lower rate."""

    name: ClassVar[str] = "warm_up_ratio"
    code: ClassVar[str] = "perigee.claims.destabilisations:warm_up_ratio"


class WarmUpTestErrorRatio(OfPeriods):
    """The test error after a destabilisation of the warm-up stage over that before."""

    name: ClassVar[str] = "warm_up_test_error_ratio"
    code: ClassVar[str] = "perigee.claims.destabilisations:warm_up_test_error_ratio"

    learning_rates: Positives


class SettledFraction(Quantity):
    """The share of epochs at which the squared norm lies in Proposition 3's interval."""

    name: ClassVar[str] = "settled_fraction"
    code: ClassVar[str] = "perigee.claims.theory:settled_fraction"

    learning_rates: Positives
    weight_decay: Positive


class NormPredictionError(Quantity):
    """How far the norm of each step is from eq. (3)."""

    name: ClassVar[str] = "norm_prediction_error"
    code: ClassVar[str] = "perigee.claims.theory:norm_prediction_error"

    weight_decay: Positive


class JumpConditionError(Quantity):
    """How far steps are from Proposition 1's condition for a jump."""

    name: ClassVar[str] = "jump_condition_error"
    code: ClassVar[str] = "perigee.claims.theory:jump_condition_error"


class JumpDelay(Quantity):
    """How much later than Proposition 2's time the largest jump comes."""

    name: ClassVar[str] = "jump_delay"
    code: ClassVar[str] = "perigee.claims.theory:jump_delay"

    weight_decay: Positive


class NormOnsetAfterLossOnset(Quantity):
    """How many steps the loss rises before the norm does."""

    name: ClassVar[str] = "norm_onset_after_loss_onset"
    code: ClassVar[str] = "perigee.claims.phases:norm_onset_after_loss_onset"


class GrowthLateInPhaseB(Quantity):
    """How much a column grows in the second half of phase B."""

    name: ClassVar[str] = "growth_late_in_phase_b"
    code: ClassVar[str] = "perigee.claims.phases:growth_late_in_phase_b"

    column: str


class EnsembleGainShare(Quantity):
    """The gain of an ensemble as a share of that of independent networks."""

    name: ClassVar[str] = "ensemble_gain_share"
    code: ClassVar[str] = "perigee.claims.similarity:ensemble_gain_share"

    period: Literal["anchor", "last"]


class SimilarityExcess(Quantity):
    """How much more similar checkpoints are than independent ones."""

    name: ClassVar[str] = "similarity_excess"
    code: ClassVar[str] = "perigee.claims.similarity:similarity_excess"

    period: NotNegativeInteger


class SimilarityInLastPeriod(Quantity):
    """The similarity in the last period."""

    name: ClassVar[str] = "similarity_in_last_period"
    code: ClassVar[str] = "perigee.claims.similarity:similarity_in_last_period"


class SimilarityTrend(Quantity):
    """The trend of similarity over periods."""

    name: ClassVar[str] = "similarity_trend"
    code: ClassVar[str] = "perigee.claims.similarity:similarity_trend"


class SimilarityWithinPeriod(Quantity):
    """The similarity inside the anchor's period."""

    name: ClassVar[str] = "similarity_within_period"
    code: ClassVar[str] = "perigee.claims.similarity:similarity_within_period"
