"""Models of the files in ``config/``, with a description for every key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, LiteralString

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from perigee.blocks.analyses import NearZero
from perigee.blocks.base import (
    Count,
    Names,
    NotNegative,
    NotNegativeInteger,
    Number,
    Positive,
    Seed,
    Truth,
    as_tuple,
)
from perigee.blocks.quantities import Statistic
from perigee.blocks.recomputed import TestStatistics


def _block(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise PydanticKnownError("dict_type")
    if "name" not in value:
        raise PydanticCustomError("no_name", "has no name")
    return value


def _quantity(value: Any) -> Any:
    """A block of a quantity, whose name may be left out where it is measured on a column."""
    if not isinstance(value, Mapping):
        raise PydanticKnownError("dict_type")
    if "name" not in value and "column" not in value:
        raise PydanticCustomError("quantity", "must have a column, or the name of a quantity")
    return value


def _spelt(pattern: str, told: LiteralString) -> AfterValidator:
    """A check that the whole of a text, if there is one, is of a pattern."""

    def check(value: str | None) -> str | None:
        if value is not None and not re.fullmatch(pattern, value):
            raise PydanticCustomError("spelling", told)
        return value

    return AfterValidator(check)


def _sweep(value: Any) -> Any:
    """Values, or values by name. Of seeds the word for the judged ones was replaced before."""
    if not isinstance(value, list | tuple | Mapping):
        raise PydanticCustomError(
            "sweep",
            "must be a list of values, or a mapping of names to values, or for seeds the word "
            "'judged'",
        )
    if not value:
        raise PydanticKnownError(
            "too_short", {"field_type": "List", "min_length": 1, "actual_length": 0}
        )
    if isinstance(value, Mapping) and "all" in value:
        raise PydanticCustomError("sweep", "must not name a value 'all', which means all of them")
    return value


def _unique(value: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((one for position, one in enumerate(value) if one in value[:position]), None)
    if twice is not None:
        raise PydanticCustomError("unique", f"must not name '{twice}' twice")
    return value


Block = Annotated[dict[str, Any], BeforeValidator(_block)]
"""A name and parameters; these are checked when the block is made."""

_is_short = _spelt(".{,60}", "must have at most 60 letters, since files are named after it")
_is_name = _spelt(
    "[a-z][a-z0-9_]*",
    "must be made of small letters, digits and underscores, and begin with a letter",
)
_is_paper = _spelt(
    "[a-z][a-z0-9]*", "must be made of small letters and digits, and begin with a letter"
)
_is_path = _spelt("[^{}]+", "must be a path without {{ and }}")
_is_address = _spelt("(https?://.*)?", "must be an address that begins with https://")
_is_version = _spelt(r"\d+\.\d+\.\d+", "must be a version such as 0.1.0")
_is_package = _spelt("[A-Za-z_][A-Za-z0-9_]*", "must be the name of a package, such as blocks")
_auto_if_empty = BeforeValidator(lambda value: value or "auto")
_is_device = _spelt(r"auto|cpu|cuda(:\d+)?", "must be auto, cpu, cuda, or cuda:0, cuda:1 and so on")

Name = Annotated[str, _is_name, _is_short]
Precision = Literal["float32", "tf32", "bfloat16", "float64"]
PaperName = Annotated[str, _is_paper, _is_short]
Text = Annotated[str, Field(min_length=1)]
Values = Annotated[
    Any,
    AfterValidator(_sweep),
    Field(
        json_schema_extra={
            "anyOf": [{"type": "array", "minItems": 1}, {"type": "object"}, {"const": "judged"}]
        }
    ),
]
Sweep = Annotated[dict[str, Values], Field(min_length=1)]
SomeNames = Annotated[
    tuple[Text, ...], BeforeValidator(as_tuple), Field(min_length=1), AfterValidator(_unique)
]


FIRST_SEED = 10
"""The first of the judged seeds; 0, 1 and 2 were looked at while rules were made."""

MOST_SEEDS = 90
"""The most judged seeds: from 100 up they are for exploring."""

Seeds = Annotated[tuple[Seed, ...], BeforeValidator(as_tuple)]


class Model(BaseModel):
    """Base class of these models: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Seen(Model):
    """The results that were in view when a value was set."""

    seeds: Seeds = Field(
        (), description="The seeds whose runs were in view; none if that was not recorded."
    )
    saw: Text = Field(description="The results that were seen, and what became of the value.")


class Noted(Model):
    """A document whose values may be marked as our choice, or as set in view of results."""

    ours: dict[str, Text] = Field(
        {},
        description="Values that are our choice and not the paper's: dotted key -> reason. In a "
        "key * stands for any one key.",
    )
    seen: dict[str, Seen] = Field(
        {}, description="Values that were set in view of results: dotted key -> what was seen."
    )


class Parent(Model):
    """The run that a forked run starts from."""

    run: Text = Field(description="Another entry of runs, whose values the fork has, too.")
    epochs: Count = Field(description="Epochs of the parent that are trained.")
    at: Annotated[Block, WithJsonSchema({"block": "fork"})] = Field(
        description="The rule that finds the epoch of the checkpoint where the fork starts."
    )


class ToldParent(Parent):
    """The same with the parent's run written out."""

    run: dict[str, Any] = Field(description="The parent's run.")  # type: ignore[assignment]


class Run(Model):
    """A run; a forked one has from its parent what it does not give itself."""

    dataset: Annotated[Block, WithJsonSchema({"block": "dataset"})] = Field(
        {}, description="Images and labels."
    )
    model: Annotated[Block, WithJsonSchema({"block": "model"})] = Field(
        {}, description="The network."
    )
    optimiser: Annotated[Block, WithJsonSchema({"block": "optimiser"})] = Field(
        {}, description="The update rule."
    )
    task: Annotated[Block, WithJsonSchema({"block": "task"})] = Field(
        {}, description="How batches are made of the data set, and what is evaluated."
    )
    schedule: Annotated[Block, WithJsonSchema({"block": "schedule"})] = Field(
        {}, description="The course of the learning rate; constant if not given."
    )
    constraint: Annotated[Block, WithJsonSchema({"block": "constraint"})] = Field(
        {}, description="A condition on the scale-invariant weights; none if not given."
    )
    loss: Annotated[Block, WithJsonSchema({"block": "loss"})] = Field(
        {}, description="The loss that training minimises; cross-entropy if not given."
    )
    augmentation: Annotated[Block, WithJsonSchema({"block": "augmentation"})] = Field(
        {}, description="A random change of training images; none if not given."
    )
    gradient: Literal["mini_batch", "full_batch"] = Field(
        "mini_batch", description="An update for each mini-batch, or one an epoch."
    )
    batch_size: Count = Field(1, description="Images in a mini-batch.")
    seed: Seed = Field(
        0, description="The seed of the initialisation and of the order of the data."
    )
    precision: Precision = Field(
        "float32",
        description="That of the scale if not given. float32 is strict; tf32 has convolutions in "
        "TF32 on GPUs, bfloat16 has activations in bfloat16 and weights in float32.",
    )
    parent: Parent = Field(  # type: ignore[assignment]
        None, description="The run whose checkpoint this one starts from."
    )


class Paper(Noted):
    """config/papers/<paper>/paper.yaml: the paper, and the runs that its figures share."""

    citation: Text = Field(
        description="The paper in short, such as 'Someone et al., NeurIPS 2020'."
    )
    runs: dict[Name, Run] = Field({}, description="Runs by name, with the paper's values.")
    explored_seeds: Seeds = Field(
        (),
        description="Seeds whose runs were looked at while settings and rules were chosen; the "
        "judged seeds may not be among them.",
    )


class KeptLayers(Model):
    """The steps of layers that are kept for tables."""

    every: Count = Field(
        1, description="Steps of the run from one kept step to the next; 1 keeps all."
    )
    in_full: Names = Field(
        (), description="Layers of which all steps are kept, such as layer2.0.conv2."
    )


class Runs(Model):
    """Runs of a figure: every swept value with every other."""

    run: Text = Field(description="The entry of runs in paper.yaml that all else is taken from.")
    epochs: Count = Field(description="Epochs of each run.")
    sweep: Sweep = Field(
        {},
        description="Values by the run's dotted key: a list, or names -> values, for claims; of "
        "seeds also the word judged, for those of the setting seeds.",
    )
    set: dict[str, Any] = Field({}, description="Values put into the run, by dotted key.")
    label: Text = Field("", description="A word for these runs, a column of the table.")
    checkpoint_interval: Count = Field(
        0, description="Epochs from one kept checkpoint to the next, where a table reads them."
    )
    layers: KeptLayers = Field(
        KeptLayers.model_validate({}),
        description="The steps of layers that are kept, where a table reads them.",
    )


class Table(Model):
    """A table that a figure or a claim reads."""

    analysis: Annotated[Block, WithJsonSchema({"block": "analysis"})] = Field(
        description="The analysis that computes the table."
    )
    runs: SomeNames = Field((), description="The entries of runs that it reads.")


class Figure(Noted):
    """config/papers/<paper>/<figure>.yaml: the experiment behind a figure."""

    title: Text = Field(description="The figure's title in the report.")
    runs: dict[Name, Runs] = Field({}, description="The figure's runs, by names that tables use.")
    tables: Annotated[dict[Name, Table], Field(min_length=1)] = Field(
        description="The tables that the notebook draws and that claims are measured on."
    )
    explored_seeds: Seeds = Field(
        (),
        description="Seeds whose runs were looked at while settings and rules were chosen; the "
        "judged seeds may not be among them.",
    )
    test_statistics: TestStatistics = Field(
        "running",
        description="The BatchNorm statistics of test images: running, as in the papers; or "
        "recomputed over the training set, where an epoch has few steps and they are stale.",
    )
    untestable: dict[Text, Text] = Field(
        {}, description="In an overlay: claims that this scale cannot test -> the reason."
    )
    outside_theorems: Text = Field(
        "",
        description="Why tables on equilibrium read runs whose settings are outside its theorems, "
        "or that are too short to come near it.",
    )


class Expected(Model):
    """How a measured value has to stand to a bound: one of these relations."""

    at_least: Number = Field(0, description="The value is this or larger.")
    at_most: Number = Field(0, description="The value is this or smaller.")
    greater_than: Number = Field(0, description="The value is larger.")
    less_than: Number = Field(0, description="The value is smaller.")
    equal_to: Number = Field(0, description="The value is this.")
    different_from: Number = Field(0, description="The value is smaller or larger.")

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and not value:
            raise PydanticKnownError(
                "too_short", {"field_type": "Mapping", "min_length": 1, "actual_length": 0}
            )
        if isinstance(value, Mapping) and len(value) > 1:
            raise PydanticCustomError(
                "keys", f"must have no more than 1 relation, but has {len(value)} keys"
            )
        return value


Unit = Literal[
    "checkpoint",
    "destabilisation",
    "epoch",
    "fork",
    "image",
    "layer",
    "period",
    "point",
    "run",
    "start",
    "step",
]


Kind = Literal["rate", "mean", "equivalent", "different", "trend", "identity"]


class Expectation(Model):
    """A measured number, and the relation that it is expected to have to a bound."""

    table: Text = Field(description="The figure's table that it is measured on.")
    quantity: Annotated[
        dict[str, Any], BeforeValidator(_quantity), WithJsonSchema({"block": "quantity"})
    ] = Field(description="What is measured. Settings are given by the names that sweeps have.")
    within_seed: Statistic | None = Field(
        None,
        description="The statistic by which a column's values become one number in each seed; not "
        "for a quantity with a name, which gives one itself.",
    )
    expected: Expected = Field(description="How the measured value has to stand to its bound.")


class Claim(Noted, Expectation):
    """A statement of a paper about a figure, and the rule by which it is judged."""

    says: Text = Field(description="The statement, in our words.")
    place: Text = Field(description="The place in the paper.")
    kind: Kind = Field(
        description="How it is judged. rate: in how many seeds the relation holds; mean: by the "
        "interval of the mean over seeds; equivalent, different: by whether that interval lies "
        "within the margin or outside it; trend: as a rate (kendall, spearman) or a mean "
        "(log_slope); identity: it holds or is violated.",
    )
    unit: Unit = Field(description="What is counted within a seed.")
    margin: Positive | None = Field(
        None,
        description="For the kinds equivalent and different: the distance from the bound that "
        "still counts as equal; of a ratio a factor.",
    )
    pooled: Truth = Field(
        False, description="For a mean of a ratio: true to take sums over seeds of both parts."
    )
    draws: Text = Field(
        "seed", description="The column that tells independent draws apart, if not the seed."
    )
    shared: Text | None = Field(
        None,
        description="For a mean: the column of what all seeds share, such as image; the interval "
        "is then one for fresh seeds and fresh images.",
    )
    given: Expectation | None = Field(
        None, description="A premise, judged first: seeds that do not meet it do not count."
    )


class Claims(Noted):
    """config/papers/<paper>/claims/<figure>.yaml: the claims on a figure."""

    claims: dict[Name, Claim] = Field(description="The claims by name.")


PRECISION: Precision = "tf32"
"""The precision of runs where neither their file nor the scale says one: PyTorch's own default, so
what the official code computed in on GPUs that have TF32. The papers do not say; our choice."""


class Scale(Model):
    """config/scales/<scale>/scale.yaml: a scale, whose overlays lie beside this file."""

    description: Text = Field(description="The scale's purpose, and how long it takes.")
    tests_claims: Truth = Field(
        description="True if claims that are measured on runs are tested; claims on tables that "
        "are computed from a formula are tested at every scale."
    )
    seeds: Count | None = Field(
        None, description="The most judged seeds at this scale; all of the setting if not given."
    )
    precision: Precision = Field(
        PRECISION,
        description="The precision of runs whose own file names none; tf32 if not given, as in "
        "PyTorch, and so in the official code on GPUs that have it.",
    )


class StudyClaim(Claim):
    """A guess about the answer, and the rule by which it is judged."""

    place: Text = Field("", description="Where it was written down; this file if not given.")
    kind: Kind = Field(
        "rate", description="How it is judged (docs/claims.md): in how many seeds it holds."
    )
    unit: Unit = Field("run", description="What is counted within a seed.")


def _run_or_name(value: Any) -> Any:
    if not isinstance(value, str | Mapping):
        raise PydanticCustomError(
            "run", "must be a paper's run, such as periodic.si_convnet, or a run written out"
        )
    return value


class Overlays(Model):
    """The overlays that a study carries itself."""

    scales: dict[str, dict[str, Any]] = Field(
        {}, description="The changes of a scale: its name -> keys of this file with other values."
    )


class Study(Noted, Overlays):
    """config/studies/<name>.yaml: a question of one's own."""

    study: Name = Field(description="The name, as the file is named; the target is study_<name>.")
    question: Text = Field(description="The title, and the stamp below the figure.")
    run: Annotated[
        Any,
        AfterValidator(_run_or_name),
        Field(json_schema_extra={"anyOf": [{"type": "string"}, {"run": True}]}),
    ] = Field(description="A paper's run, as <paper>.<run>, or a whole run written out.")
    set: dict[str, Any] = Field({}, description="Values put into the run, by dotted key.")
    epochs: Count = Field(description="Epochs of each run.")
    sweep: Sweep = Field(
        description="Values by the run's dotted key: a list, or names -> values, which claims "
        "name; of seeds also the word judged, for those of the setting seeds."
    )
    explored_seeds: Seeds = Field(
        (),
        description="Seeds whose runs were looked at while settings and rules were chosen; the "
        "judged seeds may not be among them.",
    )
    checkpoint_interval: Count = Field(
        1, description="Epochs from one kept checkpoint to the next, where similarity is drawn."
    )
    near_zero: NearZero = Field(
        "train_loss",
        description="The column that tells the phase in which the weight norm shrinks.",
    )
    panels: SomeNames = Field(
        ("train_loss", "test_error", "weight_norm", "phase_diagram", "period_statistics"),
        description="The panels that are drawn.",
    )
    further: Names = Field((), description="Measures whose columns stand beside the metrics.")
    test_statistics: TestStatistics = Field(
        "running",
        description="The BatchNorm statistics of test images: running, as in the papers; or "
        "recomputed over the training set, where an epoch has few steps and they are stale.",
    )
    claims: dict[Name, StudyClaim] = Field({}, description="Guesses, by name.")
    untestable: dict[Text, Text] = Field(
        {}, description="Below scales: claims that this scale cannot test -> the reason."
    )


class Settings(Model):
    """config/config.yaml with everything that --configfile and --config lay over it."""

    scale: Text = Field(
        description="paper, a folder of config/scales, or the path of such a folder elsewhere."
    )
    papers: Annotated[
        tuple[PaperName, ...],
        BeforeValidator(as_tuple),
        Field(min_length=1),
        AfterValidator(_unique),
    ] = Field(description="The papers whose figures are made: folders of config/papers.")
    seeds: Annotated[Count, Field(le=MOST_SEEDS)] = Field(
        3, description="How many seeds are trained, drawn and judged: 10, 11 and so on."
    )
    results: Annotated[str, _is_path] = Field(
        description="The folder that everything is written to."
    )
    data: Text = Field(description="The folder with downloaded data sets.")
    download: Truth = Field(description="True to download data sets that the folder lacks.")
    device: Annotated[str, _is_device] = Field(
        description="auto (a GPU if there is one), cpu, cuda, or cuda:0, cuda:1 and so on."
    )
    capture: Annotated[Literal["auto", "never"], _auto_if_empty] = Field(
        "auto", description="On a GPU: auto has training steps captured as CUDA graphs."
    )
    channels_last: Annotated[Literal["auto", "always", "never"], _auto_if_empty] = Field(
        "auto",
        description="On a GPU: auto lays images and weights out channels-last in tf32 and "
        "bfloat16, always in every precision.",
    )
    runs_per_gpu: Count = Field(1, description="Training runs, or predictions, at a time on a GPU.")
    processes_per_run: Count = Field(
        1, description="Processes that share each training run, with a GPU each."
    )
    nodes_per_run: Count = Field(
        1, description="On a cluster: nodes on which these processes are, as many on each."
    )
    progress_interval: Annotated[Number, Field(ge=0.1)] = Field(
        description="Seconds between the progress lines of a training run."
    )
    warn_retraining_hours: NotNegative = Field(
        0.1, description="Device hours trained again by a change of code before which to warn."
    )
    short_run_steps: NotNegativeInteger = Field(
        0, description="On a cluster: runs of at most so many steps share a submission; 0: none."
    )
    unknown_run_minutes: Count = Field(
        720,
        description="On a cluster: time limit of a run while none of its kind has finished or was "
        "calibrated.",
    )
    longest_run_minutes: Count = Field(
        1440, description="On a cluster: the longest time limit that a run asks for."
    )
    draw_on_submit_node: Truth = Field(
        True, description="On a cluster: true to draw figures where Snakemake runs."
    )
    save_interval: NotNegative = Field(
        description="Seconds between saves of a training run's state."
    )
    workers: NotNegativeInteger = Field(
        0, description="Processes that read a run's images from files; 0: the run's own."
    )
    stage_images: str | None = Field(
        "",
        description="A folder on a disk of each node, such as $TMPDIR, to which images that stay "
        "files are copied before a run reads them; '' reads them where they are.",
    )
    hash_images: Truth = Field(
        False, description="True to take checksums of the contents of a folder of images, too."
    )
    on_departure: Literal["fail", "train_anew"] = Field(
        "fail", description="If a finished run is trained again to be measured and departs."
    )
    mirror: Annotated[str | None, _is_address] = Field(
        "", description="Address of a folder with what is downloaded, if not that of the authors."
    )
    perigee: Annotated[str | None, _is_version] = Field(
        None, description="The version of Perigee that made the project."
    )
    blocks: Annotated[str | None, _is_package] = Field(
        None, description="The package of the project with blocks of the user's own."
    )

    @field_validator("nodes_per_run")
    @classmethod
    def _nodes_share_evenly(cls, value: int, info: ValidationInfo) -> int:
        processes = info.data.get("processes_per_run", value)
        if processes % value:
            raise PydanticCustomError(
                "nodes", f"must be a divisor of processes_per_run, which is {processes}"
            )
        return value
