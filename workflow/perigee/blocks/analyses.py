"""Analyses: the tables that figures and claims are made from."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from perigee.blocks.base import (
    BelowOne,
    Block,
    Count,
    Names,
    NotNegative,
    NotNegativeInteger,
    Pair,
    Positive,
    Positives,
    Share,
)
from perigee.blocks.evaluations import Evaluation, Predictions
from perigee.blocks.measures import (
    Checkpoints,
    Filters,
    Layers,
    Measure,
    Metrics,
    Steps,
    TestHits,
)

NearZero = Literal["train_loss", "train_error"]
Resolution = Literal["epoch", "step"]


class Analysis(Block, kind="analysis"):
    """A table, computed from a formula or from runs.

    Attributes:
        reads: the measures that it needs from every run; none if it computes from a formula.
        reads_checkpoints: whether it also needs checkpoints.
        compares_seeds: whether it compares each run with one of another seed.
        evaluates: the evaluations of the checkpoints that it needs.
        needs_equilibrium: whether it compares runs with the equilibrium of Wan et al. 2021, so that
            their settings have to be within its theorems.
    """

    reads: ClassVar[tuple[type[Measure], ...]] = ()
    reads_checkpoints: ClassVar[bool] = False
    compares_seeds: ClassVar[bool] = False
    evaluates: ClassVar[tuple[type[Evaluation], ...]] = ()
    needs_equilibrium: ClassVar[bool] = False

    @property
    def reads_runs(self) -> bool:
        """True if the table is made from runs."""
        return bool(self.reads)

    def further_measures(self) -> tuple[str, ...]:
        """The names of further measures that a configuration lets it read."""
        return ()

    def measures(self, checkpoint_interval: int | None) -> tuple[Measure, ...]:
        """Return the measures that it reads from every run.

        Args:
            checkpoint_interval: epochs between checkpoints, where it reads them.
        """
        found = tuple(measure() for measure in self.reads)
        if not self.reads_checkpoints or checkpoint_interval is None:
            return found
        return (*found, Checkpoints(interval=checkpoint_interval))


class Resolved(Analysis):
    """An analysis that finds destabilisations per epoch, or per step where steps are measured.

    Attributes:
        resolution: "epoch", or "step": then it also reads the measure ``steps``.
    """

    reads: ClassVar[tuple[type[Measure], ...]] = (Metrics,)

    resolution: Resolution = "epoch"

    def measures(self, checkpoint_interval: int | None) -> tuple[Measure, ...]:
        """The metrics, and the steps where destabilisations are found by them."""
        found = super().measures(checkpoint_interval)
        return (*found, Steps()) if self.resolution == "step" else found


class ResolvedByEither(Resolved):
    """Such an analysis that may go by the train error, which is not measured per step.

    Attributes:
        near_zero: the column that identifies phase B.
    """

    near_zero: NearZero = "train_loss"

    @model_validator(mode="after")
    def _steps_have_a_loss_only(self) -> Self:
        if self.resolution == "step" and self.near_zero != "train_loss":
            raise PydanticCustomError(
                "near_zero_of_steps",
                "resolution 'step' knows the train loss only; leave out near_zero, or take "
                "resolution 'epoch'",
            )
        return self


class BasinSteps(Analysis, name="basin_steps", code="perigee.analysis.basin:tabulate"):
    """Steps of a fixed angular update in a basin.

    Attributes:
        learning_rates: eta; each is tried.
        weight_decay: lambda.
        momentum: alpha.
        start: the first angle from the bottom, in radians.
        steps: how many are taken at each rate.
    """

    learning_rates: Positives
    weight_decay: Positive
    momentum: BelowOne
    start: Positive
    steps: Count


class BasinAfterDecay(
    Analysis, name="basin_after_decay", code="perigee.analysis.basin:tabulate_after_decay"
):
    """Steps in a basin before and after a decay of the learning rate.

    Attributes:
        learning_rate: eta before the decay.
        factor: by which it is divided.
        weight_decay: lambda.
        momentum: alpha.
        start: the first angle from the bottom, in radians.
        steps_before: steps in equilibrium before the decay.
        steps_after: steps after it.
    """

    learning_rate: Positive
    factor: Positive
    weight_decay: Positive
    momentum: BelowOne
    start: Positive
    steps_before: NotNegativeInteger
    steps_after: Count


class CompletePeriods(
    Analysis, name="complete_periods", code="perigee.analysis.complete_periods:tabulate"
):
    """All complete periods of runs, a row per period.

    Attributes:
        smoothing_epochs: width of all running windows.
    """

    reads: ClassVar = (Metrics, Steps)

    smoothing_epochs: Count


class Destabilisations(
    ResolvedByEither, name="destabilisations", code="perigee.analysis.destabilisations:tabulate"
):
    """The destabilisations of runs, a row per destabilisation."""


class Dials(Resolved, name="dials", code="perigee.analysis.dials:tabulate"):
    """Numbers that tell how near runs are to the paper's conditions, a row per run."""


class OfLayers(Analysis):
    """An analysis of the steps of scale-invariant weight tensors.

    Attributes:
        window: consecutive steps whose mean stands for an expectation, as in Figure 3 of Wan et al.
    """

    reads: ClassVar = (Metrics, Layers)

    window: Count = 200


class LayerCourses(
    OfLayers, name="layer_courses", code="perigee.analysis.equilibrium:tabulate_courses"
):
    """Norms and angular updates beside their equilibrium, a row per run, layer and window.

    Attributes:
        layers: names of layers, such as "layer2.0.conv2"; all if none is named.
    """

    layers: Names = ()


class LayerSteps(
    LayerCourses, name="layer_steps", code="perigee.analysis.equilibrium:tabulate_steps"
):
    """The same of single steps, a row per run, layer and step.

    Attributes:
        rows: of a run and layer at most; steps between them are left out evenly.
    """

    rows: Count = 3000


class Equilibrium(LayerCourses, name="equilibrium", code="perigee.analysis.equilibrium:tabulate"):
    """The distance of layers from equilibrium and the theorems' assumptions, a row per layer.

    Attributes:
        late_fraction: the last part of each run that is late.
    """

    needs_equilibrium: ClassVar[bool] = True

    late_fraction: Share = 0.5


class EquilibriumRuns(
    OfLayers, name="equilibrium_runs", code="perigee.analysis.equilibrium:tabulate_runs"
):
    """How alike the layers are in equilibrium, and when they arrive there, a row per run.

    Attributes:
        late_fraction: the last part of each run that is late.
    """

    needs_equilibrium: ClassVar[bool] = True

    late_fraction: Share = 0.5


class FilterStatistics(
    Analysis, name="filter_statistics", code="perigee.analysis.filters:tabulate_statistics"
):
    """How much the filters of a network differ late in runs, a row per run.

    Attributes:
        last_fraction: the last part of each run that counts.
    """

    reads: ClassVar = (Metrics, Filters)

    last_fraction: Share = 0.2


class FilterValues(
    FilterStatistics, name="filter_values", code="perigee.analysis.filters:tabulate"
):
    """Norms, gradients and rates of filters late in runs, a row per run and filter."""


class FineTuning(Analysis, name="fine_tuning", code="perigee.analysis.fine_tuning:tabulate"):
    """Forks with another rate, beside runs from the start, a row per fork.

    Attributes:
        rate: the dotted key of the rate.
        late_fraction: the last part of each run, whose values are its late ones.
    """

    reads: ClassVar = (Metrics,)

    rate: str = "optimiser.effective_learning_rate"
    late_fraction: Share = 0.2


class OnePeriod(Analysis, name="one_period", code="perigee.analysis.one_period:tabulate"):
    """One training period, a row per step.

    Attributes:
        smoothing_epochs: width of all running windows.
    """

    reads: ClassVar = (Metrics, Steps)

    smoothing_epochs: Count


class PeriodStatistics(
    ResolvedByEither,
    name="period_statistics",
    code="perigee.analysis.period_statistics:tabulate",
):
    """Statistics of the periods of runs, a row per run."""


class LateImageErrors(
    ResolvedByEither,
    name="late_image_errors",
    code="perigee.analysis.late_image_errors:tabulate",
):
    """The test errors of runs late in phase B, a row per run and test image."""

    reads: ClassVar = (Metrics, TestHits)


class Regimes(Analysis, name="regimes", code="perigee.analysis.regimes:tabulate"):
    """The regimes of runs at several rates, and what tells them, a row per run.

    Attributes:
        rate: the dotted key of the rate.
        late_fraction: the last part of each run, whose values are its late ones.
        further: names of measures with a row per epoch, whose late columns are added.
    """

    reads: ClassVar = (Metrics,)

    rate: str = "optimiser.effective_learning_rate"
    late_fraction: Share = 0.2
    further: Names = ()

    def further_measures(self) -> tuple[str, ...]:
        """The names under ``further``."""
        return self.further


class RunMetrics(Analysis, name="run_metrics", code="perigee.analysis.run_metrics:tabulate"):
    """Measures of runs, a row per epoch.

    Attributes:
        further: names of measures with a row per epoch, whose columns are added to the metrics.
    """

    reads: ClassVar = (Metrics,)

    further: Names = ()

    def further_measures(self) -> tuple[str, ...]:
        """The names under ``further``."""
        return self.further


class ScaleInvariantSteps(
    Analysis, name="scale_invariant_steps", code="perigee.analysis.scale_invariant_steps:tabulate"
):
    """Gradient steps and weight-decay steps of a scale-invariant function of two variables.

    Attributes:
        learning_rate: eta.
        weight_decay: lambda.
        start: the first point.
        steps: how many are drawn.
    """

    learning_rate: Positive
    weight_decay: NotNegative
    start: Pair
    steps: Count


class SharpnessProfiles(
    Analysis, name="sharpness_profiles", code="perigee.analysis.sharpness_profiles:tabulate"
):
    """Effective gradient norm and test error at equal train losses, a row per run and loss.

    Attributes:
        rate: the dotted key of the rate.
        levels_per_decade: train losses that are looked at in each factor of ten.
    """

    reads: ClassVar = (Metrics,)

    rate: str = "optimiser.effective_learning_rate"
    levels_per_decade: Count = 4


class Similarity(Analysis, name="similarity", code="perigee.analysis.similarity:tabulate"):
    """The distance of training from a minimum.

    Attributes:
        near_zero: the column that identifies phase B.
    """

    reads: ClassVar = (Metrics,)
    reads_checkpoints: ClassVar[bool] = True
    compares_seeds: ClassVar[bool] = True
    evaluates: ClassVar = (Predictions,)

    near_zero: NearZero = "train_loss"


class EnsembleGains(
    Similarity, name="ensemble_gains", code="perigee.analysis.similarity:tabulate_gains"
):
    """Gains of ensembles with the anchor, a row per run, period, partner and test image."""


class Stages(LayerCourses, name="stages", code="perigee.analysis.stages:tabulate"):
    """How layers come to the equilibrium of each learning rate, a row per run, layer and stage."""

    needs_equilibrium: ClassVar[bool] = True


class StageMetrics(Analysis, name="stage_metrics", code="perigee.analysis.stages:tabulate_metrics"):
    """How loss, errors and angular updates change in each stage, a row per run and stage.

    Attributes:
        layers: names of layers, such as "layer1.0.conv1"; all if none is named.
    """

    reads: ClassVar = (Metrics, Layers)

    layers: Names = ()


class ToyConvergence(
    Analysis, name="toy_convergence", code="perigee.analysis.toy_convergence:tabulate"
):
    """Convergence of the toy function of Kodryan et al. 2022 from many starts.

    Attributes:
        coefficients: alpha_i of the summands of the toy function.
        effective_learning_rates: of all parameters together; each is tried.
        starts: random starts at each rate.
        iterations: steps at most.
        converged_below: the value of the function that counts as converged.
        seed: the seed of all random starts.
    """

    coefficients: Positives
    effective_learning_rates: Positives
    starts: Count
    iterations: Count
    converged_below: Positive
    seed: NotNegativeInteger


class ToyGradientIdentities(
    Analysis,
    name="toy_gradient_identities",
    code="perigee.analysis.toy_gradient_identities:tabulate",
):
    """Identities of the gradient of a scale-invariant function.

    Attributes:
        points: random points at which gradients are taken.
        factors: by which each point is scaled.
        seed: the seed of all random starts.
    """

    points: Count
    factors: Positives
    seed: NotNegativeInteger


class ToyGroupIdentities(
    Analysis, name="toy_group_identities", code="perigee.analysis.toy_group_identities:tabulate"
):
    """Identities of scale-invariant groups on the toy function.

    Attributes:
        coefficients: alpha_i of the summands of the toy function.
        effective_learning_rates: of all parameters together; each is tried.
        iterations: steps of each trajectory.
        seed: the seed of all random starts.
    """

    coefficients: Positives
    effective_learning_rates: Positives
    iterations: Count
    seed: NotNegativeInteger


class ToyRegimes(Analysis, name="toy_regimes", code="perigee.analysis.toy_regimes:tabulate"):
    """Training of the toy function at several effective learning rates.

    Attributes:
        coefficients: alpha_i of the summands of the toy function.
        effective_learning_rates: of all parameters together; each is tried.
        iterations: steps of each trajectory.
        starts: random starts at each rate.
        seed: the seed of all random starts.
    """

    coefficients: Positives
    effective_learning_rates: Positives
    iterations: Count
    starts: Count = 1
    seed: NotNegativeInteger


class ToyStabilisation(
    Analysis, name="toy_stabilisation", code="perigee.analysis.toy_stabilisation:tabulate"
):
    """Where a single summand of the toy function stabilises.

    Attributes:
        coefficients: alpha, each tried alone.
        rates_times_coefficient: effective learning rate times alpha.
        iterations: steps of each trajectory.
        seed: the seed of all random starts.
    """

    coefficients: Positives
    rates_times_coefficient: Positives
    iterations: Count
    seed: NotNegativeInteger
