"""Quantities that claims are made about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from perigee.blocks.base import (
    Block,
    NotNegativeInteger,
    Positive,
    Positives,
    Share,
    as_number,
    as_scalar,
)

Relation = Literal["at_least", "at_most", "greater_than", "less_than", "equal_to", "different_from"]
"""The relations that a number may have to a bound."""

TrendStatistic = Literal["kendall", "log_slope", "spearman"]
"""Statistics of a column against another one."""

Statistic = Literal[
    "cv",
    "first",
    "last",
    "maximum",
    "mean",
    "median",
    "minimum",
    "sd",
    "share",
    "spread",
    "sum",
    TrendStatistic,
]
"""Statistics by which the rows of one seed become one number (`perigee.claims.columns`)."""

TRENDS = get_args(TrendStatistic)


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


class ColumnOf:
    """Marks a parameter that is a column, which may be that of a setting."""


def _as_condition(value: Any) -> Any:
    """Return the value that a column must have, or the relations in which it must stand."""
    if not isinstance(value, Mapping):
        if isinstance(value, list | tuple) or value is None:
            raise PydanticCustomError(
                "condition_type",
                "must be of type number, string or boolean, or a relation such as {at_least: 2}",
            )
        return as_scalar(value)
    known = get_args(Relation)
    if not value or any(relation not in known for relation in value):
        raise PydanticCustomError(
            "relation",
            f"must be one or more of the relations {', '.join(known)}, each with a bound",
        )
    return {relation: as_number(bound) for relation, bound in value.items()}


def _as_relations(value: Any) -> Any:
    """Return the relations in which a number must stand."""
    if value is None or isinstance(value, Mapping):
        return value if value is None else _as_condition(value)
    raise PydanticCustomError("relations", "must be a relation such as {at_most: 0.05}")


Condition = Annotated[Any, AfterValidator(_as_condition)]
Conditions = dict[str, Condition]
"""Rows of a table, selected by a condition on each of some of its columns."""

Rates = Annotated[Positives, Setting("optimiser.learning_rate", several=True)]
WeightDecay = Annotated[Positive, Setting("optimiser.weight_decay", of_runs=True)]
RelationsOrNone = Annotated[dict[Relation, float] | None, BeforeValidator(_as_relations)]
SomeRows = Annotated[Conditions, RowsOf()]
SomeRowsOrNone = Annotated[Conditions | None, RowsOf()]

Mark = Setting | RowsOf | ColumnOf


def settings_of(model: type[BaseModel] | None) -> dict[str, Mark]:
    """The marked parameters of a quantity; none of a model that is not known."""
    fields = model.model_fields if model else {}
    marks = {name: [m for m in f.metadata if isinstance(m, Mark)] for name, f in fields.items()}
    return {name: found[0] for name, found in marks.items() if found}


class Quantity(Block, kind="quantity"):
    """One number a seed, measured on a table.

    Attributes:
        reads_runs: whether its table must be made from runs.
        finds_periods: whether it finds destabilisations itself, by the train loss.
        is_ratio: whether it is a ratio or a factor, of which the logarithm is averaged over seeds.
        is_named: whether a configuration gives its name.
    """

    reads_runs: ClassVar[bool] = True
    finds_periods: ClassVar[bool] = False
    is_ratio: ClassVar[bool] = False
    is_named: ClassVar[bool] = True

    @property
    def averages_logarithm(self) -> bool:
        """True if over seeds the logarithm of the number is averaged: it is a ratio."""
        return self.is_ratio


class Column(Quantity, name="column", code="perigee.claims.columns:measure"):
    """A column's number within each seed; a configuration leaves the name out.

    The claim's ``within_seed`` is the statistic that makes one number of the values in the rows.

    Attributes:
        column: the column that is measured.
        where: the rows that count: column -> value, or relations such as {at_least: 2}; all rows
            if not given.
        last_fraction: the last part of those rows that counts.
        over, under: of these rows above and below the line of a ratio of two such numbers.
        plus, minus: the rows of a difference of two such numbers.
        against: the column against which a trend is taken.
        border: relations, such as {at_most: 0.05}, that the statistic at each value of ``against``
            begins to meet as these values grow: the value at which it does is the number.
    """

    reads_runs: ClassVar[bool] = False
    is_named: ClassVar[bool] = False

    column: str
    where: SomeRows = Field(default_factory=dict)
    last_fraction: Share = 1.0
    over: SomeRowsOrNone = None
    under: SomeRowsOrNone = None
    plus: SomeRowsOrNone = None
    minus: SomeRowsOrNone = None
    against: Annotated[str | None, ColumnOf()] = None
    border: RelationsOrNone = None

    @model_validator(mode="after")
    def _is_one_number(self) -> Self:
        pairs = (("over", "under"), ("plus", "minus"))
        for one, other in (*pairs, *(pair[::-1] for pair in pairs)):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise PydanticCustomError("pair", f"must have '{other}' beside '{one}'")
        given = [name for name in ("over", "plus", "against") if getattr(self, name) is not None]
        if len(given) > 1:
            raise PydanticCustomError("pair", f"must not have '{given[0]}' and '{given[1]}' both")
        if self.border is not None and self.against is None:
            raise PydanticCustomError("pair", "must have 'against' beside 'border'")
        return self

    @property
    def is_trend(self) -> bool:
        """True if a statistic of trends makes the number."""
        return self.against is not None and self.border is None

    @property
    def averages_logarithm(self) -> bool:
        """True of a ratio of two groups of rows, and of a border: grids have equal ratios."""
        return self.over is not None or self.border is not None


class ColumnAtLowest(
    Quantity, name="column_at_lowest", code="perigee.claims.settings:column_at_lowest"
):
    """A column at the run at which another column is lowest.

    Attributes:
        column: the column that is measured.
        lowest: the column that tells the run.
        where: the rows among which it is looked for; all rows if not given.
    """

    column: str
    lowest: str
    where: SomeRows = Field(default_factory=dict)


class TrainLossRatio(
    Quantity, name="train_loss_ratio", code="perigee.claims.settings:train_loss_ratio"
):
    """How much larger the lowest train loss of one run is than that of another.

    Attributes:
        over, under: the row of the one and that of the other.
    """

    is_ratio: ClassVar[bool] = True

    over: SomeRows
    under: SomeRows


class OfPeriods(Quantity):
    """A quantity of destabilisations."""

    finds_periods: ClassVar[bool] = True


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
