"""Every configured claim may be reproduced or not.

For each there is a table of the right form that shows what the claim says, and one that lacks just
that. Without the second, a claim might be one that no run can refute.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from perigee import registry
from perigee.claims.judging import judgements, measure
from perigee.claims.outcomes import (
    CONTRADICTED,
    HOLDS,
    INCONCLUSIVE,
    NOTHING,
    REPRODUCED,
    VIOLATED,
)
from perigee.claims.relations import RELATIONS
from perigee.claims.verdicts import fulfils, value_of
from perigee.configuration.reading import read_yaml
from perigee.configuration.requests import FigureRequest, TableRequest
from perigee.measures.metrics import COLUMNS as METRICS_COLUMNS
from perigee.paths import CARRIED
from perigee.planning.plan import read_requests
from perigee.spec import Claim
from support import regimes_tables, smd_tables
from support.configuration import SCALES
from support.regimes_tables import PlantedRuns
from support.signals import Planted, Wobbling, sawtooth
from support.smd_tables import LayerRuns
from support.synthetic_runs import (
    Training,
    with_hits,
    write_kept_run,
    write_run,
    write_stepping_run,
)
from support.synthetic_tables import (
    RATE,
    OnSphere,
    Periodic,
    Signal,
    Stuck,
    table_of_gains,
    table_of_images,
    table_of_period,
    table_of_similarity,
    table_of_statistics,
)

Floats = NDArray[np.float64]
Make = Callable[..., pd.DataFrame]
Pair = tuple[Make, Make]
SEEDS = (0, 1, 2)


SHIPPED = ("label_smoothing",)
"""The studies that come with the project; claims of a user's own need no examples here."""


def figures_of_all_studies(scale: str) -> list[FigureRequest]:
    _, requests = read_requests(["periodic", "regimes", "smd"], scale)
    return [one for one in requests if not one.is_own or one.name in SHIPPED]


Place = tuple[str, str]
"""A figure's key and a claim's name."""

FIGURES = {scale: figures_of_all_studies(scale) for scale in SCALES}
AT: dict[str, dict[Place, tuple[Claim, TableRequest]]] = {
    scale: {
        (figure.key, claim.name): (claim, table)
        for figure in figures
        for claim in figure.claims
        for table in figure.tables
        if table.name == claim.table
    }
    for scale, figures in FIGURES.items()
}
REQUESTS = {
    (figure.key, table.name): table for figure in FIGURES["laptop"] for table in figure.tables
}
"""The tables by the figure's key and their name."""
LAPTOP = AT["laptop"]


# periodic_fig2


def gradient_identities(function_offset: float) -> pd.DataFrame:
    """The identities for x^2 / (x^2 + y^2 + offset), scale-invariant without the offset."""

    def gradient(x: Floats, y: Floats) -> Floats:
        squares = x * x + y * y + function_offset
        return np.array([2 * x * (squares - x * x), -2 * x * x * y]) / squares**2

    x, y = np.random.default_rng(0).standard_normal((2, 50))
    here = gradient(x, y)
    size = np.hypot(*here)
    parts = [
        pd.DataFrame(
            {
                "x": x,
                "y": y,
                "factor": factor,
                "orthogonality_error": abs(here[0] * x + here[1] * y) / size / np.hypot(x, y),
                "scaling_error": np.hypot(*(factor * gradient(factor * x, factor * y) - here))
                / size,
            }
        )
        for factor in (0.01, 3.0)
    ]
    return pd.concat(parts, ignore_index=True)


# periodic_fig3 and periodic_fig4, from steps by the analyses themselves


@cache
def analysed(
    figure: str, table: str, training: Training, rate: float, seed: int, number: int
) -> pd.DataFrame:
    """The rows of one run, the given number of the sweep, in a table of a figure.

    Under another seed periods have slightly other lengths, and a norm that wobbles does so
    differently.
    """
    rng = np.random.default_rng(seed)
    signal = training.signal
    if isinstance(signal, Planted):
        falls = np.array(signal.falls) * np.exp(0.03 * rng.standard_normal(len(signal.falls)))
        signal = replace(signal, falls=tuple(falls.round(1)))
    else:
        signal = replace(signal, seed=seed)
    request = REQUESTS[figure, table]
    (decay,) = {run.spec.optimiser.parameters["weight_decay"] for run in request.runs}
    with TemporaryDirectory() as folder:
        run = replace(training, signal=signal).write(
            Path(folder) / "run", {RATE: rate, "seed": seed}, rate, decay, seed
        )
        rows: pd.DataFrame = registry.load(request.analysis)([run], **request.analysis.parameters)
    rows["run"] = number
    return rows


@dataclass(frozen=True)
class Sweep:
    """Runs of several learning rates, of which each table of a figure can be made."""

    figure: str
    runs: Mapping[float, Training]

    def table(self, name: str, seeds: Sequence[int]) -> pd.DataFrame:
        """The table of that name."""
        settings = list(itertools.product(self.runs, seeds))
        parts = [
            analysed(self.figure, name, self.runs[rate], rate, seed, number)
            for number, (rate, seed) in enumerate(settings)
        ]
        return pd.concat([part for part in parts if len(part)], ignore_index=True)


OfRuns = Sweep | PlantedRuns | LayerRuns
"""Runs of which the tables are made by the figure's own analyses."""


LOWEST, LOW, HIGH, HIGHEST = 0.01, 0.1, 0.3, 3.0


def periodic(
    norms: Sequence[float], length: float, *, epochs: float = 240, **given: Any
) -> Training:
    """A run of that many epochs with periods of one length, each with rho before it."""
    planted = Planted((1.0,)).norm_rises_to
    falls = [length - planted] * len(norms)
    rest = epochs - length * len(norms)
    return Training(Planted((*falls, rest), norms=tuple(norms)), **given)


STEADY = Training(Planted((240.0,)))
FROM_ABOVE = Training(Planted((60.0,), rise=4.0), gradient=0.5)
STUCK = Training(Wobbling(), gradient=13.0)
SLOWER = periodic([2.0, *[1.0] * 3], 48)
FASTER = periodic([2.6, *[1.3] * 12], 16)
RATES = {LOWEST: STEADY, LOW: SLOWER, HIGH: FASTER, HIGHEST: STUCK}


def random_intervals() -> Training:
    """A run that destabilises at random times, of which those just after another do not show."""
    falls = 5.5 + np.random.default_rng(0).exponential(40, 26)
    return Training(Planted(tuple(falls.round(1)), norms=(1.3,) * 25))


def of_rates(**changed: Training) -> tuple[Sweep, Sweep]:
    """The runs of `RATES`, and those of which some are replaced, by the rate's name."""
    names = {"lowest": LOWEST, "low": LOW, "high": HIGH, "highest": HIGHEST}
    other = {names[name]: training for name, training in changed.items()}
    return Sweep("periodic_fig3", RATES), Sweep("periodic_fig3", {**RATES, **other})


PERIODS = Training(Planted((24.0, 30.0, 27.0, 24.0)), steps_per_epoch=40)


def of_periods(**changed: Any) -> tuple[Sweep, Sweep]:
    """A run with two periods, and one that differs in its signal or in its training."""
    ours = {name for name in changed if name in Planted.__dataclass_fields__}
    signal = replace(PERIODS.signal, **{name: changed.pop(name) for name in ours})
    other = replace(PERIODS, signal=signal, **changed)
    return Sweep("periodic_fig4", {0.2: PERIODS}), Sweep("periodic_fig4", {0.2: other})


# periodic_fig5

ON_SPHERE: dict[float, Signal] = {1: Stuck(), 2: Stuck(0.8), 4: OnSphere(spikes=[6]), 8: OnSphere()}
BEFORE: dict[str, Signal] = {
    "free norm": Periodic([1.0] * 4, test_errors=[0.05, 0.04, 0.03, 0.03, 0.02]),
    "fixed long before": OnSphere(),
    "fixed shortly before": OnSphere(spikes=[40]),
}
FIXED = {label: run for label, run in BEFORE.items() if label.startswith("fixed")}


def told_apart(by: str, usual: Mapping[Any, Signal], changed: Mapping[Any, Signal]) -> Make:
    """The statistics of runs that differ in one setting, some of them replaced."""
    runs = [({by: value}, run) for value, run in {**usual, **changed}.items()]
    return partial(table_of_statistics, runs)


def of_statistics(
    by: str, usual: Mapping[Any, Signal], changed: Mapping[Any, Signal]
) -> tuple[Make, Make]:
    return told_apart(by, usual, {}), told_apart(by, usual, changed)


of_norms = partial(of_statistics, "constraint.norm", ON_SPHERE)
of_forks = partial(of_statistics, "label", BEFORE)


def errors_of_forks(changed: float, *, near: bool) -> Pair:
    """Test errors of phase B, and those with another one of the near or the far fork."""
    usual = {"free norm": 0.02, "fixed long before": 0.05, "fixed shortly before": 0.04}
    fork = "fixed shortly before" if near else "fixed long before"
    return partial(table_of_images, usual), partial(table_of_images, {**usual, fork: changed})


def of_values(
    runs: Mapping[Any, Signal],
    column: str,
    usual: Mapping[Any, float],
    changed: Mapping[Any, float],
    by: str = "label",
) -> tuple[Make, Make]:
    """The statistics of runs with some values of a column, which differ a bit by seed."""

    def make(values: Mapping[Any, float], seeds: Sequence[int] = (0,)) -> pd.DataFrame:
        table = told_apart(by, runs, {})(seeds=seeds)
        # One of which no value is given keeps what it has.
        found = table[by].map(dict(values)).fillna(table[column])
        return table.assign(**{column: found * (1 + 0.01 * table["seed"])})

    return partial(make, usual), partial(make, {**usual, **changed})


# periodic_fig1 and periodic_fig7

MODIFIED: dict[str, Signal] = {
    "none": Periodic([1.0] * 3),
    "all weights trained": Periodic([1.0] * 3, 50),
    "momentum": Periodic([1.0] * 8, 20),
    "augmentation": Periodic([1.0] * 2, 120),
    "augmentation, standard width": Stuck(0.2),
}
of_modifications = partial(of_statistics, "label", MODIFIED)


of_column = partial(of_values, MODIFIED)


def of_all_rates(*rates: float) -> tuple[Make, Make]:
    """Periods, and one destabilisation at each rate, which is none."""
    periodic, single = Periodic([1.0] * 3), Periodic([1.0], 100)
    return of_statistics(RATE, dict.fromkeys(rates, periodic), dict.fromkeys(rates, single))


TOGETHER: dict[float, Signal] = dict(
    zip(
        sorted({one.swept[RATE] for one in REQUESTS["periodic_fig7", "together_statistics"].runs}),
        (Periodic([], tail=300), Periodic([1.0] * 2, 100), Periodic([1.0] * 3), Stuck()),
        strict=True,
    )
)
"""Runs at the lowest, the low, the high and the highest learning rate."""
TOO_LOW, SLOW, FAST, TOO_HIGH = TOGETHER
of_learning_rates = partial(of_statistics, RATE, TOGETHER)


# regimes_fig2


def convergence(shares: Mapping[float, float]) -> pd.DataFrame:
    """The table of a given share of converging starts, out of ten, for each rate."""
    rows = [
        (rate, start, 200, 1e-7, True) if start < 10 * share else (rate, start, 5000, 0.3, False)
        for rate, share in shares.items()
        for start in range(10)
    ]
    columns = ["effective_learning_rate", "start", "iterations", "value", "converged"]
    return pd.DataFrame(rows, columns=columns)


def stabilisation(ends_above_the_threshold: Callable[[float, float], float]) -> pd.DataFrame:
    """The table of functions that end, above their threshold, at a value of alpha, alpha * ELR."""
    rows = []
    for alpha, product in itertools.product([1.0, 2.0, 4.0], [0.5, 0.9, 1.1, 2.0, 20.0]):
        predicted = max(0.0, (alpha - alpha / product) / 2)
        value = ends_above_the_threshold(alpha, product) if product > 1 else 1e-12
        rows.append((alpha, product / alpha, value, predicted, abs(value - predicted) / alpha))
    columns = ["coefficient", "effective_learning_rate", "value", "predicted", "error"]
    return pd.DataFrame(rows, columns=columns)


def group_identities(stride: int) -> pd.DataFrame:
    """Projected descent on the sum of alpha_i f(x_i, y_i), each pair ``stride`` from the next.

    With a stride of 2 the pairs are groups as in the paper; with 1 every pair shares a parameter
    with the next, so that only all together are scale-invariant.
    """
    alpha = (1.0, 2.0, 4.0)
    pairs = [slice(stride * i, stride * i + 2) for i in range(3)]
    rows = []
    for rate in (0.1, 0.5):
        point = np.random.default_rng(1).standard_normal(2 * stride + 2)
        point /= np.linalg.norm(point)
        for iteration in range(30):
            gradient = np.zeros_like(point)
            for coefficient, pair in zip(alpha, pairs, strict=True):
                x, y = point[pair]
                slope = 2 * coefficient * x * y / (x * x + y * y) ** 2
                gradient[pair] += slope * y, -slope * x
            squares = np.array([point[pair] @ point[pair] for pair in pairs])
            slopes = np.array([gradient[pair] @ gradient[pair] for pair in pairs])
            total_step = rate**2 * gradient @ gradient
            steps = rate**2 * slopes / squares
            combined = (squares * steps).sum() / squares.sum()
            point = point - rate * gradient
            point /= np.linalg.norm(point)
            found = rate / np.array([point[pair] @ point[pair] for pair in pairs])
            expected = rate / squares * (1 + combined) / (1 + steps)
            rows.append(
                (
                    rate,
                    iteration,
                    abs(1 / squares.sum() - 1),
                    abs(combined / total_step - 1),
                    np.abs(expected / found - 1).max(),
                )
            )
    errors = [f"equation_{number}_error" for number in (3, 4, 5)]
    return pd.DataFrame(rows, columns=["effective_learning_rate", "iteration", *errors])


def equilibrium(levels: Mapping[float, float], deviations: Mapping[float, float]) -> pd.DataFrame:
    """Values that come down to a level, of ten starts, and then vary around it at random."""
    rng = np.random.default_rng(0)
    iterations = np.arange(401)
    parts = []
    for rate, start in itertools.product(levels, range(10)):
        wobble = deviations[rate] * rng.standard_normal(len(iterations))
        value = np.abs(levels[rate] + 3 * 0.8**iterations + wobble)
        parts.append(
            pd.DataFrame(
                {
                    "effective_learning_rate": rate,
                    "start": start,
                    "iteration": iterations,
                    "value": value,
                    "relative_value": value / ((7 - 1 / rate) / 2),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


LEVELS = {0.15: 1 / 6, 0.2: 1.0, 0.5: 2.5}
DEVIATIONS = {0.15: 0.01, 0.2: 0.02, 0.5: 0.7}


def of_levels(levels: Mapping[float, float], deviations: Mapping[float, float]) -> Pair:
    changed = {**LEVELS, **levels}, {**DEVIATIONS, **deviations}
    return partial(equilibrium, LEVELS, DEVIATIONS), partial(equilibrium, *changed)


# Each with what shows the phenomenon, and what is as realistic and lacks it.

OF_IDENTITIES = (partial(gradient_identities, 0.0), partial(gradient_identities, 1.0))
OF_GROUPS = (partial(group_identities, 2), partial(group_identities, 1))


def of_period(**changed: Any) -> tuple[Make, Make]:
    return table_of_period, partial(table_of_period, **changed)


def of_independent_networks(changed: float) -> tuple[Make, Make]:
    """Cosines of networks that are trained apart, which differ a bit by seed."""

    def make(cosine: float, seeds: Sequence[int] = (0,)) -> pd.DataFrame:
        table = table_of_similarity(independent_cosine=cosine, seeds=seeds)
        return table.assign(
            independent_cosine_similarity=table["independent_cosine_similarity"]
            + 0.01 * table["seed"]
        )

    return partial(make, 0.01), partial(make, changed)


def of_anchor(**changed: Any) -> tuple[Make, Make]:
    usual: dict[str, Any] = {"cosines": (0.7, 0.3, 0.1)}
    return partial(table_of_similarity, **usual), partial(table_of_similarity, **usual | changed)


def of_correlated_anchor(**changed: Any) -> tuple[Make, Make]:
    """Tables in which late periods stay correlated, as the paper reports for CIFAR-100."""
    return table_of_similarity, partial(table_of_similarity, **changed)


def of_both_networks(changed: float) -> tuple[Make, Make]:
    """Similarities of both networks; the ConvNet's next period is as similar as given."""

    def make(cosine: float, seeds: Sequence[int] = (0,)) -> pd.DataFrame:
        near = table_of_similarity(cosines=(cosine, 0.3, 0.1), seeds=seeds)
        far = table_of_similarity(seeds=seeds)
        labelled = (
            near.assign(label="ConvNet, CIFAR-10"),
            far.assign(label="ResNet, CIFAR-100", run=far["run"] + len(seeds)),
        )
        return pd.concat(labelled, ignore_index=True)

    return partial(make, 0.7), partial(make, changed)


CLOSE_INSIDE = {"inside": 0.7}
COMES_BACK = {"cosines": (0.5, 0.3, 0.6)}
TRAINED_ANEW = {"cosines": (0.06, 0.05, 0.04), "independent_cosine": 0.0}


def of_gains(usual: Sequence[float], changed: Sequence[float]) -> Pair:
    return partial(table_of_gains, usual), partial(table_of_gains, changed)


GAINS = (0.1, 0.6, 0.9, 1.0)
CORRELATED_GAINS = (0.1, 0.5, 0.7, 0.8)


def of_starts(shares: Mapping[float, float]) -> tuple[Make, Make]:
    usual = {0.1: 1.0, 0.1425: 0.9, 0.1435: 0.0}
    return partial(convergence, usual), partial(convergence, {**usual, **shares})


TABLES: dict[Place, tuple[Make | OfRuns, Make | OfRuns]] = {
    ("periodic_fig1", "convnet_has_periods"): of_all_rates(0.5, 1.0),
    ("periodic_fig1", "resnet18_has_periods"): of_all_rates(1.0),
    ("periodic_fig2", "gradient_is_tangential"): OF_IDENTITIES,
    ("periodic_fig2", "gradient_grows_at_smaller_norms"): OF_IDENTITIES,
    # One destabilisation makes no period.
    ("periodic_fig3", "periods_at_middle_rates"): of_rates(low=periodic([1.0], 100)),
    ("periodic_fig3", "intervals_are_regular"): of_rates(high=random_intervals()),
    ("periodic_fig3", "one_level_of_the_norm"): of_rates(
        low=periodic([1.0, 0.6, 0.85, 1.0, 1.0], 40)
    ),
    ("periodic_fig3", "more_periods_at_a_higher_rate"): of_rates(
        high=periodic([2.6, *[1.3] * 3], 48)
    ),
    # Periods are as long at both rates.
    ("periodic_fig3", "periods_as_long_as_the_rates_say"): of_rates(
        high=periodic([2.6, *[1.3] * 3], 48)
    ),
    ("periodic_fig3", "no_period_at_the_lowest_rate"): of_rates(lowest=periodic([1.0], 150)),
    # The norm is as small as where the others destabilise, and goes on falling.
    ("periodic_fig3", "too_low_a_rate_to_destabilise"): of_rates(
        lowest=Training(Planted((240.0,), norms=(0.3,)))
    ),
    # It learns the training set as the lowest rate does.
    # The rate without periods has the lowest test error.
    ("periodic_fig3", "periods_at_the_best_rate"): of_rates(
        lowest=replace(STEADY, test_errors=(0.01,))
    ),
    ("periodic_fig3", "stuck_at_the_highest_rate"): of_rates(highest=STEADY),
    ("periodic_fig3", "large_gradients_at_the_highest_rate"): of_rates(highest=STEADY),
    # Without periods the effective learning rate converges.
    ("periodic_fig3", "steady_rate_where_stuck"): of_rates(
        high=Training(Wobbling(loss=1e-3, norm=1.3, width=0.01))
    ),
    ("periodic_fig3", "larger_norm_at_a_higher_rate"): of_rates(
        high=periodic([1.6, *[0.9] * 12], 16)
    ),
    ("periodic_fig3", "smaller_gradients_at_a_higher_rate"): of_rates(
        high=replace(FASTER, gradient=3.0)
    ),
    ("periodic_fig3", "longer_warm_up_at_a_lower_rate"): of_rates(
        high=periodic([5.0, 4.5, 4.0, 3.5, 3.0, *[1.3] * 8], 20, epochs=270)
    ),
    # The first destabilisation does harm.
    ("periodic_fig3", "warm_up_lowers_the_test_error"): of_rates(
        low=replace(SLOWER, test_errors=(0.08, 0.1, 0.09, 0.08, 0.08)),
        high=replace(FASTER, test_errors=(0.08, 0.11, *[0.07] * 12)),
    ),
    # They grow, in the whole run, as rho gets smaller.
    ("periodic_fig3", "larger_gradients_in_the_warm_up"): of_rates(low=replace(SLOWER, power=-1.0)),
    ("periodic_fig3", "gradients_keep_within_the_premise"): of_rates(
        low=replace(SLOWER, surge=1000.0)
    ),
    # rho^2 is still far above what the gradients keep up.
    ("periodic_fig3", "squared_norm_settles_in_its_interval"): of_rates(
        low=replace(SLOWER, gradient=0.01)
    ),
    # It comes down more slowly than weight decay alone would take it.
    ("periodic_fig3", "squared_norm_arrives_in_time"): tuple(
        Sweep("periodic_fig3", {**RATES, HIGH: replace(FROM_ABOVE, signal=signal)})
        for signal in (FROM_ABOVE.signal, Planted((240.0,), rise=4.0))
    ),
    # The error comes down long after the norm began to fall.
    ("periodic_fig4", "near_zero_error_where_phase_b_begins"): of_periods(error_delay=5.0),
    ("periodic_fig4", "loss_rises_before_the_norm"): of_periods(norm_rises_from=-1.0),
    # They peaked before the norm, and have hardly fallen.
    ("periodic_fig4", "norm_peaks_after_the_gradients"): of_periods(surge_peak=2.5),
    # The steps that raise the norm are not much larger than others.
    ("periodic_fig4", "large_steps_begin_a_destabilisation"): of_periods(surge=2.0),
    ("periodic_fig4", "phases_are_long"): of_periods(norm_rises_to=2.0),
    # The loss falls with the norm.
    ("periodic_fig4", "loss_falls_in_phase_a"): of_periods(loss_left=0.9),
    # As under another rule than eq. (3): in one of two periods gradients are smallest where the
    # effective learning rate is highest.
    ("periodic_fig4", "periods_go_round_one_way"): of_periods(surge=(10.0, 0.1, 0.1)),
    # Gradients shrink faster than the norm.
    **{
        ("periodic_fig4", f"{name}_grows"): of_periods(power=3.0)
        for name in ("cosine_distance", "lower_bound", "upper_bound")
    },
    # Steps turn the weights by more than the gradients account for, as with momentum.
    ("periodic_fig4", "cosine_distance_within_its_bounds"): of_periods(turn=3.0),
    ("periodic_fig4", "weight_norm_follows_from_its_gradients"): of_period(gradient=1.1),
    # Steps turn the weights by more than the gradients account for, as with momentum.
    ("periodic_fig4", "steps_jump_as_proposition_1_says"): of_period(turn=1.2),
    ("periodic_fig4", "no_jump_sooner_than_proposition_2_says"): of_periods(turn=10.0),
    ("periodic_fig5", "converges_at_a_low_elr"): of_norms({8: OnSphere(final_loss=0.08)}),
    ("periodic_fig5", "stuck_at_a_high_elr"): of_norms({1: OnSphere()}),
    ("periodic_fig5", "no_periods_on_the_sphere"): of_norms({4: OnSphere(spikes=[30, 60])}),
    # The smaller effective learning rates are stuck.
    ("periodic_fig5", "effective_rate_decides_where_it_ends"): of_norms(
        {1: OnSphere(), 2: OnSphere(), 4: Stuck(0.8), 8: Stuck()}
    ),
    ("periodic_fig5", "never_again_on_the_sphere"): (
        told_apart("label", FIXED, {}),
        told_apart("label", FIXED, {"fixed long before": OnSphere(spikes=[40, 70])}),
    ),
    ("periodic_fig5", "near_forks_destabilise_more"): of_forks(
        {"fixed long before": OnSphere(spikes=[70])}
    ),
    ("periodic_fig5", "periods_lower_the_test_error"): errors_of_forks(0.01, near=True),
    ("periodic_fig5", "periods_lower_the_test_error_more"): errors_of_forks(0.01, near=False),
    ("periodic_fig7", "periods_with_all_weights_trained"): of_modifications(
        {"all weights trained": Periodic([1.0], 180)}
    ),
    ("periodic_fig7", "other_frequency_with_all_weights_trained"): (
        told_apart("label", MODIFIED, {"all weights trained": Periodic([1.0] * 6, 30)}),
        told_apart("label", MODIFIED, {}),
    ),
    ("periodic_fig7", "periods_with_momentum"): of_modifications({"momentum": Stuck()}),
    ("periodic_fig7", "more_periods_with_momentum"): of_modifications(
        {"momentum": MODIFIED["none"]}
    ),
    ("periodic_fig7", "shorter_phases_a_with_momentum"): of_column(
        "phase_a_epochs", {"none": 3.0, "momentum": 1.5}, {"momentum": 3.5}
    ),
    ("periodic_fig7", "shorter_phases_b_with_momentum"): of_modifications(
        {"momentum": Periodic([1.0] * 3, 70)}
    ),
    ("periodic_fig7", "periods_with_augmentation"): of_modifications({"augmentation": Stuck(0.2)}),
    ("periodic_fig7", "larger_loss_with_augmentation"): of_column(
        "phase_b_train_loss", {"none": 0.001, "augmentation": 0.03}, {"augmentation": 0.0008}
    ),
    ("periodic_fig7", "longer_phase_a_with_augmentation"): of_column(
        "first_norm_peak", {"none": 4.0, "augmentation": 9.0}, {"augmentation": 3.0}
    ),
    ("periodic_fig7", "later_with_augmentation"): of_modifications(
        {"augmentation": MODIFIED["none"]}
    ),
    ("periodic_fig7", "no_periods_of_a_narrow_network"): of_modifications(
        {"augmentation, standard width": Periodic([1.0], 180)}
    ),
    ("periodic_fig7", "periods_with_all_modifications"): of_all_rates(0.1),
    ("periodic_fig7", "no_period_at_the_lowest_rate"): of_learning_rates(
        {TOO_LOW: Periodic([1.0], 200)}
    ),
    # It destabilises again and again, but learns the data in between.
    ("periodic_fig7", "failure_at_the_highest_rate"): of_learning_rates(
        {TOO_HIGH: Periodic([1.0] * 8, 20)}
    ),
    ("periodic_fig7", "periods_at_the_best_rate"): of_values(
        TOGETHER,
        "late_phase_b_test_error",
        {TOO_LOW: 0.05, SLOW: 0.03, FAST: 0.02, TOO_HIGH: 0.4},
        {TOO_LOW: 0.01},
        by=RATE,
    ),
    **{
        ("periodic_fig6", f"{pair}{name}"): tables(**changed)
        for pair, tables in (("", of_anchor), ("resnet_", of_correlated_anchor))
        for name, changed in (
            ("close_inside_a_period", CLOSE_INSIDE),
            ("farther_with_each_period", COMES_BACK),
            ("neighbours_resemble_each_other", TRAINED_ANEW),
        )
    },
    **{
        ("periodic_fig6", f"{pair}{name}"): of_gains(usual, changed)
        for pair, usual in (("", GAINS), ("resnet_", CORRELATED_GAINS))
        for name, changed in (
            ("one_network_inside_a_period", (0.7, 0.7, 0.9, 1.0)),
            ("next_period_gains", (0.1, -0.1, 0.9, 1.0)),
        )
    },
    # Weights that drift apart and functions that stay alike.
    ("periodic_fig6", "ensemble_of_independent_networks"): of_gains(GAINS, (0.1, 0.2, 0.3, 0.3)),
    ("periodic_fig6", "independent_networks_are_unlike"): of_independent_networks(0.2),
    ("periodic_fig6", "resnet_independent_networks_are_unlike"): of_independent_networks(0.2),
    ("periodic_fig6", "resnet_stays_correlated"): of_correlated_anchor(cosines=(0.6, 0.3, 0.1)),
    ("periodic_fig6", "resnet_ensemble_below_independent"): of_gains(
        CORRELATED_GAINS, (0.1, 0.6, 0.9, 1.1)
    ),
    ("periodic_fig6", "convnet_moves_away_faster"): of_both_networks(0.9),
    # The first destabilisation comes as early with smoothed labels.
    ("study_label_smoothing", "delays_the_first_destabilisation"): of_statistics(
        "loss.label_smoothing",
        {0.0: Periodic([1.0] * 3), 0.1: Periodic([1.0] * 2, 100)},
        {0.1: Periodic([1.0] * 3)},
    ),
    ("regimes_fig2", "converges_below_the_threshold"): of_starts({0.1: 0.6}),
    ("regimes_fig2", "can_converge_just_below_the_threshold"): of_starts({0.1425: 0.2}),
    ("regimes_fig2", "never_converges_above_the_threshold"): of_starts({0.1435: 0.1}),
    # It converges to the minimum whatever the rate is.
    ("regimes_fig2", "single_function_stabilises_at_the_predicted_value"): (
        partial(stabilisation, lambda alpha, product: (alpha - alpha / product) / 2 + 1e-9),
        partial(stabilisation, lambda alpha, product: 1e-12),
    ),
    ("regimes_fig2", "total_rate_from_individual_rates"): OF_GROUPS,
    ("regimes_fig2", "total_step_is_a_convex_combination"): OF_GROUPS,
    ("regimes_fig2", "negative_feedback_of_individual_rates"): OF_GROUPS,
    # It converges after all, or walks at random: the mean over the sphere is 7 / 2.
    ("regimes_fig2", "second_regime_has_its_level"): of_levels({0.2: 3.5}, {0.2: 1.0}),
    ("regimes_fig2", "second_regime_has_its_level_just_above_the_threshold"): of_levels(
        {0.15: 0.0}, {}
    ),
    # It goes round its level as closely as at 0.2.
    ("regimes_fig2", "largest_rate_is_the_most_chaotic"): of_levels({}, {0.5: 0.01}),
    **regimes_tables.TABLES,
    **smd_tables.TABLES,
}


def of_peaks(*errors: float) -> Make:
    """The consistent destabilisations of a run, with the train errors at the loss's peaks."""

    def make(seeds: Sequence[int]) -> pd.DataFrame:
        rows = [
            {"run": run, "seed": seed, "consistent": True, "peak_train_error": error}
            for run, seed in enumerate(seeds)
            for error in errors
        ]
        return pd.DataFrame(rows)

    return make


GOES_ON = (of_peaks(0.2, 0.3, 0.2, 0.4, 0.1, 0.3), of_peaks(0.97, 0.9, 0.3, 0.98, 0.9, 0.2))
SEVERAL = (
    told_apart("label", BEFORE, {"free norm": Periodic([3.0, 2.0, *[1.0] * 4])}),
    told_apart("label", BEFORE, {}),
)

# The tables on which the premises of claims are met, and not met.
PREMISES: dict[Place, tuple[Make, Make]] = {
    **{
        place: GOES_ON
        for place, (claim, _) in LAPTOP.items()
        if place[0] == "periodic_fig6" and claim.given is not None
    },
    ("periodic_fig5", "no_periods_on_the_sphere"): of_forks({"free norm": Periodic([1.0], 180)}),
    ("periodic_fig5", "never_again_on_the_sphere"): of_forks({"free norm": Periodic([1.0] * 2)}),
    ("periodic_fig5", "periods_lower_the_test_error"): SEVERAL,
    ("periodic_fig5", "periods_lower_the_test_error_more"): SEVERAL,
    ("periodic_fig7", "later_with_augmentation"): of_column(
        "first_norm_peak", {"none": 4.0, "augmentation": 9.0}, {"augmentation": 5.0}
    ),
    # Nor has the wide one a period.
    ("periodic_fig7", "no_periods_of_a_narrow_network"): of_modifications(
        {"augmentation": Stuck(0.2)}
    ),
}


WITHOUT_ANYTHING: dict[Place, OfRuns] = {
    # The lowest rate destabilises as well.
    ("periodic_fig3", "too_low_a_rate_to_destabilise"): of_rates(lowest=periodic([1.0], 150))[1],
    # Every rho^2 begins below what some step's gradient could keep up.
    ("periodic_fig3", "squared_norm_arrives_in_time"): Sweep(
        "periodic_fig3", {HIGH: FASTER, HIGHEST: STUCK}
    ),
    # No destabilisation leaves an error that is not small.
    ("periodic_fig4", "near_zero_error_where_phase_b_begins"): of_periods(error_delay=-3.0)[1],
    # Steps go as far from the beginning of phase B on.
    ("periodic_fig4", "no_jump_sooner_than_proposition_2_says"): of_periods(power=2.0)[1],
    # Neither run has a warm-up stage, and their periods have 90 and 30 epochs.
    ("periodic_fig3", "longer_warm_up_at_a_lower_rate"): of_rates(
        low=periodic([1.0] * 5, 90, epochs=500), high=periodic([1.3] * 7, 30)
    )[1],
    # There is one destabilisation in the warm-up stages of both.
    ("periodic_fig3", "warm_up_lowers_the_test_error"): of_rates(low=periodic([1.0] * 4, 48))[1],
    ("periodic_fig3", "squared_norm_settles_in_its_interval"): of_rates(
        low=replace(SLOWER, gradient=0.01, surge=1000.0)
    )[1],
    **regimes_tables.WITHOUT_PREMISE,
    **smd_tables.WITHOUT_PREMISE,
}
"""Runs in which there is nothing to measure, or which lack a claim's premise."""


def each(places: Iterable[Place]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "place", [pytest.param(place, id="-".join(place)) for place in places]
    )


every_claim = each(LAPTOP)
claims_on_runs = each(place for place, (_, table) in LAPTOP.items() if table.runs)
claims_on_made_tables = each(
    place for place, tables in TABLES.items() if not isinstance(tables[0], OfRuns)
)

Tables = Mapping[str, pd.DataFrame]


def tables_of(place: Place, make: Make | OfRuns) -> Tables:
    """Make the tables of a claim and its premise, on several seeds if they are made from runs."""
    claim, request = LAPTOP[place]
    if isinstance(make, OfRuns):
        names = {claim.table, *([claim.given.table] if claim.given else [])}
        return {name: make.table(name, SEEDS) for name in names}
    assert claim.given is None or place in PREMISES
    return {claim.table: make(seeds=SEEDS) if request.runs else make()}


def made(place: Place, *, shows_it: bool) -> Tables:
    """Make the tables of an example or counterexample."""
    example, counterexample = TABLES[place]
    return tables_of(place, example if shows_it else counterexample)


def test_every_claim_has_its_tables() -> None:
    assert set(TABLES) == set(LAPTOP)
    premises = {place for place, (claim, _) in LAPTOP.items() if claim.given is not None}
    assert premises <= set(WITHOUT_ANYTHING) | set(PREMISES)


def claim_at(place: Place) -> Claim:
    """The claim, without a premise for which `PREMISES` has tables of its own."""
    claim = replace(LAPTOP[place][0], testable=True)
    return replace(claim, given=None) if place in PREMISES else claim


def verdict(claim: Claim, tables: Tables) -> tuple[str, dict[str, float]]:
    """The verdict on a claim, and the number of each seed."""
    found = measure(claim.name, claim, tables[claim.table], claim.draws)
    (row,) = judgements("a paper", "a figure", [claim], tables).to_dict("records")
    return row["verdict"], {seed: value_of(number) for seed, number in found.items()}


@every_claim
def test_it_is_reproduced_where_the_phenomenon_is(place: Place) -> None:
    claim = claim_at(place)
    found, measured = verdict(claim, made(place, shows_it=True))
    assert found == (HOLDS if claim.kind == "identity" else REPRODUCED), measured


@every_claim
def test_it_is_contradicted_where_the_phenomenon_is_absent(place: Place) -> None:
    claim = claim_at(place)
    found, measured = verdict(claim, made(place, shows_it=False))
    # On every seed, and not for want of anything to measure.
    assert all(math.isfinite(value) for value in measured.values()), measured
    if claim.kind == "mean":
        assert found in (CONTRADICTED, INCONCLUSIVE), measured
        return
    assert found == (VIOLATED if claim.kind == "identity" else CONTRADICTED), measured
    assert not any(fulfils(claim, value) for value in measured.values())


@each(WITHOUT_ANYTHING)
def test_without_anything_to_measure_or_its_premise_it_is_neither(place: Place) -> None:
    claim, _ = LAPTOP[place]
    tables = tables_of(place, WITHOUT_ANYTHING[place])
    assert verdict(claim, tables)[0] == NOTHING
    if claim.given is not None:
        premises = measure(claim.name, claim.given, tables[claim.given.table], claim.draws)
        assert all(math.isfinite(value_of(number)) for number in premises.values())


@pytest.mark.parametrize(
    ("place", "missing"),
    [
        pytest.param(place, missing, id="-".join((*place, missing)))
        for missing, (_, places) in regimes_tables.MISSING.items()
        for place in places
    ],
)
def test_where_runs_of_a_regime_are_missing_there_is_nothing_to_measure(
    place: Place, missing: str
) -> None:
    claim, _ = LAPTOP[place]
    runs, _ = regimes_tables.MISSING[missing]
    assert verdict(claim, tables_of(place, runs))[0] == NOTHING


@claims_on_runs
def test_of_three_seeds_one_without_the_phenomenon_leaves_it_open(place: Place) -> None:
    claim = claim_at(place)
    example, other = made(place, shows_it=True), made(place, shows_it=False)
    mixed = {
        name: pd.concat((table[table["seed"] != 1], other[name][other[name]["seed"] == 1]))
        for name, table in example.items()
    }
    found, measured = verdict(claim, mixed)
    assert found == (VIOLATED if claim.kind == "identity" else INCONCLUSIVE), measured


@each(PREMISES)
def test_its_premise_may_be_met_or_not(place: Place) -> None:
    given = LAPTOP[place][0].given
    assert given is not None
    for make, is_met in zip(PREMISES[place], (True, False), strict=True):
        found = measure(place[1], given, make(seeds=SEEDS)).values()
        met = [RELATIONS[given.relation](value_of(one), given.bound) for one in found]
        assert met == [is_met] * len(SEEDS)


@claims_on_made_tables
def test_its_tables_have_the_columns_that_the_analysis_makes(place: Place, tmp_path: Path) -> None:
    claim, request = LAPTOP[place]
    runs = []
    if request.analysis.name in ("similarity", "ensemble_gains"):
        signal = sawtooth([60, 80], 40, 2.0, 0.0, 0)
        labels = {key: value for key, value in request.runs[0].swept.items() if key == "label"}
        for seed in (0, 1):
            run = write_kept_run(tmp_path, signal, 4, seed)
            runs.append(replace(run, swept={**labels, **run.swept}))
    elif request.analysis.name == "one_period":
        runs.append(write_stepping_run(tmp_path / "run", [90, 110]))
    elif request.analysis.parameters.get("resolution") == "step":
        run = with_hits(write_stepping_run(tmp_path / "run", [90, 110]))
        runs.append(replace(run, swept=request.runs[0].swept))
    elif request.runs:
        metrics = pd.DataFrame([{"epoch": 0, **dict.fromkeys(METRICS_COLUMNS, 0.0)}])
        runs.append(write_run(tmp_path / "run", metrics, request.runs[0].swept))
    small = {"iterations": 2, "starts": 2, "points": 2}
    given = request.analysis.parameters
    parameters = {name: small.get(name, value) for name, value in given.items()}
    real = registry.load(request.analysis)(runs, **parameters)
    for shows_it in (True, False):
        table = made(place, shows_it=shows_it)[claim.table]
        if runs:
            assert set(table) <= set(real)
        else:
            assert list(table) == list(real)


# The other scales

WHERE = ("where", "over", "under", "plus", "minus")
"""Parameters of quantities that name settings."""


def is_setting(key: str, value: Any) -> bool:
    """Return whether a condition is on a setting that has different values at other scales."""
    return "." in key or key == "effective_learning_rate" or isinstance(value, float)


def bounds(condition: Any) -> list[Any]:
    """The values in a condition on a column, which has relations or is a value."""
    return list(condition.values()) if isinstance(condition, Mapping) else [condition]


def parameters_of(claim: Claim) -> list[Mapping[str, Any]]:
    """The parameters of the quantities of a claim and its premise."""
    expectations = [claim, *([claim.given] if claim.given else [])]
    return [one.quantity.parameters for one in expectations]


def settings_named(claim: Claim) -> set[tuple[str, Any]]:
    """The columns and values, such as a learning rate, that the claim's quantities need."""
    found = set()
    for given in parameters_of(claim):
        found |= {(RATE, rate) for rate in given.get("learning_rates", [])}
        for key, condition in (item for name in WHERE for item in (given.get(name) or {}).items()):
            if key == "label" or is_setting(key, condition):
                found |= {(key, value) for value in bounds(condition)}
    return found


def left_open(key: str, condition: Any) -> Any:
    """A condition, of which the number is left open if it is a setting."""
    if isinstance(condition, str) or not is_setting(key, condition):
        return condition
    return [*condition] if isinstance(condition, Mapping) else "differs"


def without_settings(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule whose settings are left open."""
    plain = dict(rule)
    quantity = dict(plain["quantity"])
    for name in {"learning_rates", "weight_decay"} & set(quantity):
        quantity[name] = "differs"
    for name in {*WHERE} & set(quantity):
        quantity[name] = {key: left_open(key, one) for key, one in (quantity[name] or {}).items()}
    plain["quantity"] = quantity
    if plain.get("given"):
        plain["given"] = without_settings(plain["given"])
    return plain


UNTESTABLE = {
    ("smd_fig3", "before_the_loss"),
    ("smd_fig5", "coco_falls_below_equilibrium_at_once"),
    ("smd_fig5", "coco_does_not_arrive_in_the_second_stage"),
    ("smd_fig5", "coco_does_not_arrive_in_the_third_stage"),
    ("smd_fig5", "coco_stays_in_equilibrium_if_rescaled"),
    ("smd_fig5", "coco_nearer_to_equilibrium_if_rescaled"),
}
"""The claims that the laptop's data or runs cannot test; its overlays tell why."""


@every_claim
def test_its_rule_is_the_same_at_paper_scale(place: Place) -> None:
    (here, _), (there, _) = LAPTOP[place], AT["paper"][place]
    assert here.testable == (place not in UNTESTABLE)
    assert without_settings({**here.rule, "testable": True}) == without_settings(there.rule)


@pytest.mark.parametrize("scale", SCALES)
def test_the_weight_decay_it_names_is_that_of_its_runs(scale: str) -> None:
    named = 0
    for claim, table in AT[scale].values():
        decay = claim.quantity.parameters.get("weight_decay")
        if decay is not None:
            assert {run.spec.optimiser.parameters["weight_decay"] for run in table.runs} == {decay}
            named += 1
    assert named


LEFT_OUT: dict[str, set[Place]] = {
    "smoke": {
        ("regimes_fig7", "third_regime_is_there"),
        ("regimes_fig7", "better_than_at_a_lower_rate_of_the_first_regime"),
        ("regimes_fig7", "overflows_at_a_very_high_rate"),
        ("regimes_fig7", "better_from_a_medium_start_than_from_a_low_one"),
        ("regimes_fig7", "better_from_a_medium_start_than_from_a_high_one"),
        ("regimes_fig7", "too_little_time_from_a_high_start"),
        ("regimes_fig7", "better_from_a_higher_start_of_the_first_regime"),
    }
}
"""The claims that name a setting which no run of a scale has."""


@every_claim
@pytest.mark.parametrize("scale", SCALES)
def test_its_table_has_the_settings_it_names(scale: str, place: Place) -> None:
    claim, table = AT[scale][place]
    claim = replace(claim, given=None) if place in PREMISES else claim  # of another table
    of_formula = table.analysis.parameters.get("effective_learning_rates", [])
    settings = {("effective_learning_rate", rate) for rate in of_formula}
    settings |= {item for run in table.runs for item in run.swept.items()}
    assert (settings_named(claim) <= settings) == (place not in LEFT_OUT.get(scale, ()))


def test_no_claim_of_a_paper_repeats_a_number_of_its_runs() -> None:
    """It names the setting, so that its rule is the same at every scale."""
    for path in sorted((CARRIED / "config/papers").glob("*/claims/*.yaml")):
        figure = read_yaml(path.parents[1] / path.name)
        for name, claim in read_yaml(path)["claims"].items():
            if "runs" not in figure["tables"][claim["table"]]:
                continue
            for quantity in (one["quantity"] for one in (claim, claim.get("given")) if one):
                told = [quantity.get("weight_decay"), *quantity.get("learning_rates", [])]
                for key, condition in (c for w in WHERE for c in quantity.get(w, {}).items()):
                    told += bounds(condition) if is_setting(key, condition) else []
                numbers = [one for one in told if isinstance(one, int | float)]
                assert not numbers, (path.stem, name)
