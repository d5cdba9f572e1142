"""Quantities that claims are made about."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from perigee.blocks.base import Block, NotNegativeInteger, Positive, Positives, Rows, Share

Statistic = Literal["first", "last", "minimum", "maximum", "mean", "median"]


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
    """A comparison of two learning rates."""

    higher: Positive
    lower: Positive


class ColumnRatio(Quantity, name="column_ratio", code="perigee.claims.columns:column_ratio"):
    """The ratio of a column's statistic over some rows to that over others."""

    reads_runs: ClassVar[bool] = False

    column: str
    statistic: Statistic
    over: Rows
    under: Rows


class ColumnStatistic(
    Quantity, name="column_statistic", code="perigee.claims.columns:column_statistic"
):
    """A statistic of a column."""

    reads_runs: ClassVar[bool] = False

    column: str
    statistic: Statistic
    where: Rows = Field(default_factory=dict)
    last_fraction: Share = 1.0


class DestabilisationCount(
    OfPeriods, name="destabilisation_count", code="perigee.claims.destabilisations:count"
):
    """The number of destabilisations."""

    learning_rates: Positives
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
    """The test error after a destabilisation of the warm-up stage over that before."""

    learning_rates: Positives


class SettledFraction(
    Quantity, name="settled_fraction", code="perigee.claims.theory:settled_fraction"
):
    """The share of epochs at which the squared norm lies in Proposition 3's interval."""

    learning_rates: Positives
    weight_decay: Positive


class NormPredictionError(
    Quantity, name="norm_prediction_error", code="perigee.claims.theory:norm_prediction_error"
):
    """The largest error of eq. (3) in predicting the norm."""

    weight_decay: Positive


class JumpConditionError(
    Quantity, name="jump_condition_error", code="perigee.claims.theory:jump_condition_error"
):
    """The largest error of Proposition 1's condition for a jump."""


class JumpDelay(Quantity, name="jump_delay", code="perigee.claims.theory:jump_delay"):
    """The delay of the largest jump after Proposition 2's time."""

    weight_decay: Positive


class NormOnsetAfterLossOnset(
    Quantity,
    name="norm_onset_after_loss_onset",
    code="perigee.claims.phases:norm_onset_after_loss_onset",
):
    """The number of steps by which the loss rises before the norm."""


class GrowthLateInPhaseB(
    Quantity, name="growth_late_in_phase_b", code="perigee.claims.phases:growth_late_in_phase_b"
):
    """The growth of a column in the second half of phase B."""

    column: str


class EnsembleGainShare(
    Quantity, name="ensemble_gain_share", code="perigee.claims.similarity:ensemble_gain_share"
):
    """The gain of an ensemble as a share of that of independent networks."""

    period: Literal["anchor", "last"]


class SimilarityExcess(
    Quantity, name="similarity_excess", code="perigee.claims.similarity:similarity_excess"
):
    """The similarity of checkpoints beyond that of independent ones."""

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
