"""Runs and tables on which the claims of the paper `periodic` hold, and others that lack it.

Those of the study that comes with the project are among them: it has periods, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perigee import registry
from support.configured_claims import LAPTOP, REQUESTS, Example, Make, Pair, Place
from support.signals import Planted, Wobbling
from support.synthetic_runs import Training
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
LATE = {1.25: BEFORE["fixed long before"], 1.03: BEFORE["fixed shortly before"]}
"""Forks of a late destabilisation, by how many times its norm they have."""


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


PRECISIONS = dict.fromkeys(("float32", "tf32", "bfloat16"), Periodic([1.0] * 6, 30))


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


# periodic_fig6, and identities of periodic_fig2 and periodic_fig4

OF_IDENTITIES = (partial(gradient_identities, 0.0), partial(gradient_identities, 1.0))


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


TABLES: dict[Place, tuple[Example, Example]] = {
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
    ("periodic_fig5", "near_forks_destabilise_more"): (
        told_apart("parent.at.factor", LATE, {}),
        told_apart("parent.at.factor", LATE, {1.25: OnSphere(spikes=[70])}),
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
    # In one precision it destabilises once, or half as often.
    **{
        ("study_precision", f"{name}_in_{precision}"): of_statistics(
            "precision", PRECISIONS, {precision: changed}
        )
        for precision in ("tf32", "bfloat16")
        for name, changed in (
            ("periods", Periodic([1.0], 180)),
            ("as_many", Periodic([1.0] * 3, 60)),
        )
    },
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
    ("periodic_fig5", "near_forks_destabilise_more"): of_forks({"free norm": Periodic([1.0] * 2)}),
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


WITHOUT_ANYTHING: dict[Place, Sweep] = {
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
}
"""Runs in which there is nothing to measure, or which lack a claim's premise."""
