"""Tables of the figures on three regimes, of runs whose courses are planted.

Each claim has runs that show what it says, and runs that are as realistic and lack just that. The
tables are made of them by the figures' own analyses, with the rates, epochs and forks of the
configuration: only what training does is made up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perigee import registry
from perigee.analysis.inputs import RunInput
from perigee.analysis.regimes import (
    BORDER_OF_CONVERGENCE,
    BORDER_OF_DIVERGENCE,
    CONVERGENCE,
    DIVERGENCE,
    EQUILIBRIUM,
)
from perigee.blocks.forks import AtEpoch
from perigee.configuration.requests import RunRequest, TableRequest
from perigee.dynamics.groups import MEAN, QUANTITIES, ROOT_MEAN_SQUARE
from perigee.measures.metrics import COLUMNS as METRICS
from perigee.planning.plan import read_requests
from support.configuration import shipped_paper
from support.synthetic_runs import write_measure, write_run
from support.synthetic_tables import Periodic

Floats = NDArray[np.float64]
SCALE = "laptop"
EFFECTIVE_RATE, RATE = "optimiser.effective_learning_rate", "optimiser.learning_rate"
PARENT = "parent.run."
CLASSES = 100
"""Those of pairs of digits."""

BEGIN = 5.0
"""The train loss of a network that was not trained."""

LEARNT = 2.0
"""The train loss below which the network classifies better than a random guess."""

RADIUS = 12.0
"""The norm of weights on the sphere."""


@cache
def requests() -> Mapping[tuple[str, str], TableRequest]:
    """The tables of all figures, by the figure's key and their name."""
    _, figures = read_requests(["regimes"], SCALE)
    return {(figure.key, table.name): table for figure in figures for table in figure.tables}


@cache
def rates(figure: str, runs: str, key: str = EFFECTIVE_RATE) -> Mapping[str, float]:
    """The rates that some runs of a figure sweep, by name."""
    paper = shipped_paper("regimes")
    plain, overlay = (
        document["runs"].get(runs, {}).get("sweep", {}).get(key, {})
        for document in (paper["figures"][figure], paper["overlays"][SCALE][figure])
    )
    return {name: rate for name, rate in {**plain, **overlay}.items() if rate is not None}


# What training does


@dataclass(frozen=True)
class Given:
    """The numbers that a course depends on beside its own.

    Attributes:
        epochs: how many are trained.
        begin: the train loss before.
        rng: for its noise.
    """

    epochs: int
    begin: float
    rng: np.random.Generator

    def noise(self, size: float) -> Floats:
        """Independent factors about 1, one an epoch; the first is that of the beginning."""
        factors = np.exp(size * self.rng.standard_normal(self.epochs + 1))
        factors[0] = 1
        return np.asarray(factors)


class Course(Protocol):
    """The course of training, epoch by epoch."""

    def rows(self, given: Given) -> pd.DataFrame:
        """Losses, errors and norms, a row per epoch and one of the beginning."""
        ...


GUESS = 1 - 1 / CLASSES


def of_columns(loss: Floats, gradient: Floats, **others: Any) -> pd.DataFrame:
    columns = {
        "train_loss": loss,
        "effective_gradient_norm": gradient,
        "train_error": GUESS * np.minimum(1, loss / LEARNT) ** 1.5,
        "test_error": np.minimum(GUESS, 0.1 + 0.35 * np.sqrt(loss)),
        "weight_norm": RADIUS,
    }
    return pd.DataFrame({**columns, **others})


@dataclass(frozen=True)
class Converges:
    """A loss that falls as 1 / t^2 along a trajectory of gradient norm and loss.

    Attributes:
        speed: by how much 1 / sqrt(loss) grows in an epoch.
        factor: of the gradient norm at equal loss; at the beginning all are alike.
        power: of the loss, which the gradient norm goes as.
        test_error: factor of the test error at equal loss.
    """

    speed: float
    factor: float = 1.0
    power: float = 0.5
    test_error: float = 1.0

    def rows(self, given: Given) -> pd.DataFrame:
        times = np.arange(given.epochs + 1)
        loss = (given.begin**-0.5 + self.speed * times) ** -2 * given.noise(0.02)
        apart = np.clip(-2 * np.log10(loss), 0, 1)
        gradient = 4 * loss**self.power * self.factor**apart * given.noise(0.03)
        table = of_columns(loss, gradient)
        error = np.minimum(GUESS, table["test_error"] * self.test_error)
        return table.assign(test_error=error * given.noise(0.02))


@dataclass(frozen=True)
class Settles:
    """A loss that comes to a level within some epochs and stays about it.

    Attributes:
        level: that of the loss.
        gradient: the effective gradient norm.
        noise, gradient_noise, norm_noise: the standard deviations of the logarithms.
        error: the train error.
        test_error: the test error.
    """

    level: float
    gradient: float = 10.0
    noise: float = 0.1
    gradient_noise: float = 0.05
    norm_noise: float = 0.0
    error: float = 0.3
    test_error: float = 0.5

    def rows(self, given: Given) -> pd.DataFrame:
        rest = np.exp(-np.arange(given.epochs + 1) / 3)
        error, test_error = (
            np.minimum(one + (GUESS - one) * rest * min(1, given.begin / BEGIN), GUESS)
            for one in (self.error, self.test_error)
        )
        return of_columns(
            (self.level + (given.begin - self.level) * rest) * given.noise(self.noise),
            self.gradient * given.noise(self.gradient_noise),
            train_error=error,
            test_error=test_error * given.noise(0.02),
            weight_norm=RADIUS * given.noise(self.norm_noise),
        )


@dataclass(frozen=True)
class Guesses:
    """A network that is never better than a random guess, or only for some epochs at a time.

    Attributes:
        hits: whether it is better at times.
    """

    hits: bool = False

    def rows(self, given: Given) -> pd.DataFrame:
        epochs = np.arange(given.epochs + 1)
        is_hit = (epochs % 13 < 2) & (epochs > 2) & self.hits
        error = np.where(is_hit, 0.3, GUESS * (1 - 5e-4 * given.rng.random(len(epochs))))
        loss = np.where(is_hit, 1.5, 8.0) * given.noise(0.2)
        gradient = np.where(is_hit, 12.0, 4.0) * given.noise(0.2)
        return of_columns(loss, gradient, train_error=error, test_error=error)


@dataclass(frozen=True)
class Overflows:
    """A loss that is not finite after some epochs, which ends training."""

    after: int = 2

    def rows(self, given: Given) -> pd.DataFrame:
        loss: Floats = given.begin * np.logspace(0, self.after, self.after + 1)
        loss[-1] = np.nan
        gradient = np.where(np.isfinite(loss), 30.0, np.nan)
        return of_columns(loss, gradient, train_error=GUESS, test_error=GUESS)


@dataclass(frozen=True)
class Destabilises:
    """A run with weight decay that destabilises from time to time.

    Attributes:
        times: how often.
        length: the epochs between.
    """

    times: int
    length: int = 40

    def rows(self, given: Given) -> pd.DataFrame:
        signal = Periodic([1.0] * self.times, self.length, tail=given.epochs)
        table = signal.rows(int(given.rng.integers(2**31)))[: given.epochs + 1]
        is_large = table["train_loss"].to_numpy() > 0.1
        return of_columns(
            table["train_loss"].to_numpy(),
            np.where(is_large, 10.0, 1.0) * given.noise(0.1),
            train_error=np.where(is_large, 0.4, 0.0),
            test_error=table["test_error"].to_numpy(),
            weight_norm=table["weight_norm"].to_numpy(),
        )


@dataclass(frozen=True)
class Then:
    """One course after another.

    Attributes:
        first, second: the courses.
        share: that of all epochs that the first one takes; it has one epoch at least.
        begin: the loss at which the second begins; where the first ends if not given.
    """

    first: Course
    second: Course
    share: float
    begin: float | None = None

    def rows(self, given: Given) -> pd.DataFrame:
        epochs = max(1, round(self.share * given.epochs))
        first = self.first.rows(replace(given, epochs=epochs - 1))
        begin = float(first["train_loss"].iloc[-1]) if self.begin is None else self.begin
        second = self.second.rows(replace(given, epochs=given.epochs - epochs, begin=begin))
        return pd.concat([first, second], ignore_index=True)


@dataclass(frozen=True)
class Filtered:
    """A run of which every filter is measured.

    Attributes:
        course: what it does as a whole.
        slope: of the logarithm of gradient norms on that of rates, over filters.
        spread: the standard deviation of the logarithm to base 10 of the rates.
        noise: that of the logarithm of the gradient norms about the slope.
        drift: the change of these logarithms in a fifth of all epochs, relative to their spread.
    """

    course: Course
    slope: float
    spread: float = 0.4
    noise: float = 0.06
    drift: float = 0.05

    def rows(self, given: Given) -> pd.DataFrame:
        return self.course.rows(given)

    def of_filters(self, given: Given, rate: float) -> tuple[np.ndarray, list[str]]:
        """The rows of the measure ``filters``, and the layer of each group."""
        layers = [*["conv1"] * 16, *["conv2"] * 32, *["conv3"] * 64, ""]
        place, way, about = given.rng.standard_normal((3, len(layers)))
        left = np.arange(1, given.epochs + 1)[:, None] / given.epochs - 1
        rates = 10 ** (self.spread * (place + self.drift * 5 * left * way))
        rates *= rate * (1 / rates).sum(axis=1, keepdims=True)  # eq. (3)
        logarithm = np.log10(rates)
        logarithm -= logarithm.mean(axis=1, keepdims=True)
        gradient = 10 ** (self.slope * logarithm + self.noise * about)
        norm = RADIUS * np.sqrt(rate / rates)
        values = {
            "weight_norm": norm,
            "gradient_norm": gradient / norm,
            "effective_gradient_norm": gradient,
            "effective_learning_rate": rates,
            "effective_step_size": rates * gradient,
        }
        columns = {
            f"{name}_{kind}": factor * values[name]
            for name in QUANTITIES
            for kind, factor in ((MEAN, 0.95), (ROOT_MEAN_SQUARE, 1.0))
        }
        types = [(name, "<f4", (len(layers),)) for name in columns]
        rows = np.empty(given.epochs, [("epoch", "<i4"), *types])
        rows["epoch"] = np.arange(1, given.epochs + 1)
        for name, numbers in columns.items():
            rows[name] = numbers
        return rows, layers


# Runs of a figure

Point = tuple[float, ...]
"""A run's rate, and of a fork that of its parent before it."""


@dataclass(frozen=True, eq=False)
class PlantedRuns:
    """The runs of a figure, of which its tables can be made.

    Attributes:
        figure: the figure's key.
        courses: what the run at each point does. A table has those of its runs that are told.
    """

    figure: str
    courses: Mapping[Point, Course]

    def table(self, name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
        """The table of that name."""
        return made(self, name, seeds)

    def but(self, changed: Mapping[Point, Course]) -> PlantedRuns:
        """The runs, of which some do something else."""
        return replace(self, courses={**self.courses, **changed})


@cache
def made(runs: PlantedRuns, name: str, seeds: tuple[int, ...]) -> pd.DataFrame:
    request = requests()[runs.figure, name]
    once = request.runs[0].swept["seed"]
    wanted = [one for one in request.runs if one.swept["seed"] == once]
    with TemporaryDirectory() as folder:
        written = [
            write(Path(folder) / f"{seed}-{number}", one, runs.courses, seed, request)
            for seed in seeds
            for number, one in enumerate(wanted)
            if point_of(one) in runs.courses
        ]
        table: pd.DataFrame = registry.load(request.analysis)(
            written, **request.analysis.parameters
        )
    return table


def point_of(run: RunRequest) -> Point:
    key = EFFECTIVE_RATE if EFFECTIVE_RATE in run.swept else RATE
    parents = run.swept.get(f"{PARENT}{key}")
    return (run.swept[key],) if parents is None else (parents, run.swept[key])


def given_at(point: Point, epochs: int, seed: int) -> Given:
    rng = np.random.default_rng((seed, *(round(1e9 * rate) for rate in point)))
    return Given(epochs, BEGIN, rng)


def write(
    folder: Path,
    request: RunRequest,
    courses: Mapping[Point, Course],
    seed: int,
    table: TableRequest,
) -> RunInput:
    """A finished run, as the configuration asks for it, that took its course."""
    point, parent = point_of(request), request.spec.parent
    given, fork_epoch = given_at(point, request.epochs, seed), 0
    if parent is not None:
        assert isinstance(parent.at, AtEpoch)
        fork_epoch = parent.at.epoch
        before = courses[point[:1]].rows(given_at(point[:1], parent.epochs, seed))
        given = replace(given, begin=float(before["train_loss"][fork_epoch]))
    course = courses[point]
    rows = course.rows(given)
    is_on_sphere = EFFECTIVE_RATE in request.swept
    squares = rows["weight_norm"] ** 2
    rows = rows.assign(
        epoch=np.arange(len(rows)),
        test_loss=1.2 * rows["train_loss"],
        gradient_norm=rows["effective_gradient_norm"] / rows["weight_norm"],
        learning_rate=point[-1] * squares if is_on_sphere else point[-1],
        effective_learning_rate=point[-1] if is_on_sphere else point[-1] / squares,
    )
    rows["effective_step_size"] = rows["effective_learning_rate"] * rows["effective_gradient_norm"]
    further = {
        name: rows[["epoch"]].assign(**{name: 0.8 * rows["effective_gradient_norm"]})
        for name in table.analysis.further_measures()
    }
    run = write_run(
        folder,
        rows[["epoch", *METRICS]],
        {**request.swept, "seed": seed},
        further=further,
        stopped=isinstance(course, Overflows),
        fork_epoch=fork_epoch,
        classes=CLASSES,
        optimiser=request.spec.optimiser.full_dict(),
    )
    if not isinstance(course, Filtered):
        return run
    of_filters, layers = course.of_filters(given, point[-1])
    measured = write_measure(folder / "filters", of_filters, groups=layers)
    return replace(run, measures={**run.measures, "filters": measured})


Planted = tuple[PlantedRuns, PlantedRuns]
"""Runs that show what a claim says, and runs that lack it."""


# regimes_fig1

RATES = sorted({point_of(one)[0] for one in requests()["regimes_fig1", "regimes"].runs})
BORDER = (len(RATES) - 2) // 2
FIRST, SECOND = RATES[:BORDER], RATES[BORDER + 1 : -2]
SPEED = 200.0
"""That at which training converges, relative to its effective learning rate."""


def at(rates: Sequence[float], courses: Iterable[Course]) -> dict[Point, Course]:
    """The courses of some rates."""
    return {(rate,): course for rate, course in zip(rates, courses, strict=False)}


def first_regime(
    *, speed: float = SPEED, flatter: float = 0.7, better: float = 0.95
) -> dict[Point, Course]:
    """Runs of the first regime of figure 1.

    Args:
        speed: relative to the rate; if it is negative, that of the rates in reverse.
        flatter, better: factors of the gradient norm and of the test error, at equal loss, from
            each rate to the next.
    """
    courses = (
        Converges(abs(speed) * rate, flatter**number, test_error=better**number)
        for number, rate in enumerate(FIRST if speed > 0 else FIRST[::-1])
    )
    return at(FIRST, courses)


def second_regime(
    *, lowest: float = 0.3, higher: float = 1.6, gradient: float = 0.8, **noise: float
) -> dict[Point, Course]:
    """Runs of the second regime of figure 1.

    Args:
        lowest: the loss at the lowest rate.
        higher, gradient: factors of the loss and of the gradient norm from each rate to the next.
        noise: as that of the course.
    """
    courses = (
        Settles(lowest * higher**number, 25 * gradient**number, **noise)
        for number in range(len(SECOND))
    )
    return at(SECOND, courses)


LEAVES = Then(Settles(0.25, 25.0), Converges(0.5, 0.2, test_error=0.8), 0.5)
"""It is stuck for a while, and then converges suddenly."""

REGIMES = PlantedRuns(
    "regimes_fig1",
    {
        **first_regime(),
        (RATES[BORDER],): LEAVES,
        **second_regime(),
        **at(RATES[-2:], (Guesses(hits=True), Guesses())),
    },
)


def of_regimes(changed: Mapping[Point, Course]) -> Planted:
    return REGIMES, REGIMES.but(changed)


def without(*missing: str) -> PlantedRuns:
    """The runs of figure 1, as if its grid had no rate of some regimes."""
    rates = {
        CONVERGENCE: FIRST,
        BORDER_OF_CONVERGENCE: RATES[BORDER : BORDER + 1],
        EQUILIBRIUM: SECOND,
        BORDER_OF_DIVERGENCE: RATES[-2:-1],
        DIVERGENCE: RATES[-1:],
    }
    gone = {rate for regime in missing for rate in rates[regime]}
    kept = {point: one for point, one in REGIMES.courses.items() if point[0] not in gone}
    return replace(REGIMES, courses=kept)


OF_REGIMES: dict[str, Planted] = {
    # Once the images are fitted, the loss of one run goes up and down.
    "loss_decays_monotonically": of_regimes(
        {(FIRST[-1],): Then(Converges(0.5), Settles(0.02, 0.5, noise=0.4, error=0.0), 0.4)}
    ),
    # Steps are too large for the lowest losses.
    "lower_loss_at_a_higher_rate": of_regimes(first_regime(speed=-SPEED)),
    "flatter_at_a_higher_rate": of_regimes(first_regime(flatter=3.0)),
    "lower_test_error_at_a_higher_rate": of_regimes(first_regime(better=1.6)),
    # The loss at the end grows with the rate little by little.
    "sharp_switch": of_regimes(
        {(FIRST[-1],): Converges(0.04), (SECOND[0],): Settles(0.2), (RATES[BORDER],): Settles(0.1)}
    ),
    "higher_loss_at_a_higher_rate": of_regimes(second_regime(higher=0.8)),
    "flatter_at_a_higher_rate_of_the_second_regime": of_regimes(second_regime(gradient=1.3)),
    "loss_is_steady_in_the_second_regime": of_regimes(
        {(SECOND[1],): Settles(0.5, 20.0, noise=0.6)}
    ),
    "gradients_are_steady_in_the_second_regime": of_regimes(
        {(SECOND[1],): Settles(0.5, 20.0, gradient_noise=0.6)}
    ),
    "sharpness_peaks_at_the_border": of_regimes({(SECOND[2],): Settles(0.8, 40.0)}),
    "random_guess_at_the_highest_rate": of_regimes({(RATES[-1],): Settles(3.0, 5.0, error=0.8)}),
}


# regimes_fig3

STARTS, FORKS = rates("fig3", "starts"), rates("fig3", "forks")
(BEFORE,) = rates("fig3", "forks", f"{PARENT}{EFFECTIVE_RATE}").values()
DECREASED, INCREASED = (BEFORE, FORKS["decreased"]), (BEFORE, FORKS["increased"])
FLATNESS = {"medium": 0.6, "high": 0.35, "highest": 0.2}
"""The factors of the gradient norm at equal loss; at lower rates it is 1."""

BETTER = {"medium": 0.9, "high": 0.8, "highest": 0.7}
"""The factors of the test error at equal loss."""


def tuned(rate: float, like: float) -> Converges:
    """A run at a rate, on the trajectory of one that trains at another rate from the start."""
    name = next(name for name, one in STARTS.items() if one == like)
    return Converges(SPEED * rate, FLATNESS.get(name, 1.0), test_error=BETTER.get(name, 1.0))


def starting(**changed: Mapping[str, float]) -> dict[Point, Course]:
    """Runs from the initialisation.

    Args:
        changed: numbers of the courses at some rates, by the rate's name.
    """
    return {
        (rate,): replace(tuned(rate, rate), **changed.get(name, {}))
        for name, rate in STARTS.items()
    }


def jumping(after: Course, share: float = 0.3) -> Then:
    """A fork that stays on the trajectory for a share of all epochs, and then jumps out of it."""
    return Then(replace(tuned(INCREASED[1], BEFORE), speed=SPEED * BEFORE), after, share, begin=1.0)


ON_ITS_OWN = tuned(INCREASED[1], INCREASED[1])
PROFILES = PlantedRuns(
    "regimes_fig3",
    {
        **starting(),
        DECREASED: tuned(DECREASED[1], BEFORE),
        INCREASED: jumping(ON_ITS_OWN),
    },
)


def of_starts(**changed: Mapping[str, float]) -> Planted:
    return PROFILES, PROFILES.but(starting(**changed))


def of_tuning(fork: Point, course: Course) -> Planted:
    return PROFILES, PROFILES.but({fork: course})


OF_PROFILES: dict[str, Planted] = {
    "lowest_rates_coincide": of_starts(very_low={"factor": 0.3}),
    "higher_rates_are_flatter_at_equal_loss": of_starts(high={"factor": 0.7}),
    "higher_rates_generalise_better_at_equal_loss": of_starts(
        medium={"test_error": 1.1}, high={"test_error": 1.2}, highest={"test_error": 1.3}
    ),
    "trajectories_are_parallel": of_starts(highest={"power": 0.7}),
    # It comes to the trajectory of the new rate at once.
    "stays_on_its_trajectory_at_a_lower_rate": of_tuning(
        DECREASED, tuned(DECREASED[1], DECREASED[1])
    ),
    # It comes back to its trajectory.
    "comes_to_a_new_trajectory_at_a_higher_rate": of_tuning(
        INCREASED, jumping(tuned(INCREASED[1], BEFORE))
    ),
    # It jumps at once, and is back after a while.
    "goes_on_at_first_at_a_higher_rate": of_tuning(
        INCREASED, jumping(Then(Settles(0.7), ON_ITS_OWN, 0.3), share=0.0)
    ),
    "jumps_out_at_a_higher_rate": of_tuning(INCREASED, tuned(INCREASED[1], BEFORE)),
    # It stays where it jumped.
    "converges_again_at_a_higher_rate": of_tuning(INCREASED, jumping(Settles(0.7))),
    "does_not_jump_at_a_lower_rate": of_tuning(
        DECREASED, jumping(tuned(DECREASED[1], DECREASED[1]))
    ),
}
NO_JUMP = PROFILES.but({INCREASED: tuned(INCREASED[1], BEFORE)})


# regimes_fig4

OF_FIG4 = rates("fig4", "rates")
FIRST_OF_FIG4, SECOND_OF_FIG4 = (OF_FIG4["first_regime"],), (OF_FIG4["second_regime"],)
FILTERS = PlantedRuns(
    "regimes_fig4",
    {
        FIRST_OF_FIG4: Filtered(Converges(SPEED * FIRST_OF_FIG4[0]), slope=0.0, noise=0.3),
        SECOND_OF_FIG4: Filtered(Settles(0.4), slope=-1.0),
    },
)


def of_filters(point: Point = SECOND_OF_FIG4, **changed: Any) -> Planted:
    course = FILTERS.courses[point]
    assert isinstance(course, Filtered)
    return FILTERS, FILTERS.but({point: replace(course, **changed)})


OF_FILTERS: dict[str, Planted] = {
    # Gradients are as large in all filters, or differ by themselves.
    "steps_differ_less_than_rates": of_filters(slope=0.0),
    "steps_differ_less_than_gradients": of_filters(slope=-0.3),
    "gradients_are_inverse_to_rates": of_filters(slope=-0.6),
    # The equilibrium is reached in both.
    "not_so_in_the_first_regime": of_filters(FIRST_OF_FIG4, slope=-1.0, noise=0.03),
    "rates_are_steady": of_filters(drift=0.5),
}


# regimes_fig5

LOW_RATES, HIGH_RATES = rates("fig5", "first_regime"), rates("fig5", "second_regime")
LEVELS = {name: 0.3 * 2.0**number for number, name in enumerate(HIGH_RATES)}
PROFILE = {name: 0.4**number for number, name in enumerate(LOW_RATES)}
FLATTEST = min(PROFILE.values())


def forked(of_low: Mapping[str, float], of_high: Mapping[str, float]) -> dict[Point, Course]:
    """Forks from the second regime to the first, with the factors of their trajectories.

    Args:
        of_low, of_high: from the low and from the high rate, by the name of the new one.
    """
    return {
        (HIGH_RATES[parent], LOW_RATES[name]): Converges(SPEED * LOW_RATES[name], factor)
        for parent, factors in (("low", of_low), ("high", of_high))
        for name, factor in factors.items()
    }


def at_levels(by: Callable[[str, str], str]) -> dict[Point, Course]:
    """Forks within the second regime.

    Args:
        by: of the names of the rate before and the new one, that of the level it comes to.
    """
    return {
        (HIGH_RATES[before], HIGH_RATES[name]): Settles(LEVELS[by(before, name)])
        for before, name in itertools.permutations(HIGH_RATES, 2)
    }


ALL_FLATTEST = dict.fromkeys(LOW_RATES, FLATTEST)
TUNING = PlantedRuns(
    "regimes_fig5",
    {
        **{(rate,): Converges(SPEED * rate, PROFILE[name]) for name, rate in LOW_RATES.items()},
        **{(rate,): Settles(LEVELS[name]) for name, rate in HIGH_RATES.items()},
        **at_levels(lambda before, new: new),
        **forked(ALL_FLATTEST, PROFILE),
    },
)
NONE_CONVERGED = TUNING.but({(rate,): Settles(1.0) for rate in LOW_RATES.values()})

OF_TUNING: dict[str, Planted] = {
    # The level depends on where training begins.
    "loss_goes_to_the_level_of_the_new_rate": (
        TUNING,
        TUNING.but(at_levels(lambda before, new: before)),
    ),
    "nearer_to_the_new_level": (TUNING, TUNING.but(at_levels(lambda before, new: before))),
    "always_the_flattest_from_a_low_rate": (TUNING, TUNING.but(forked(PROFILE, PROFILE))),
    "various_minima_from_a_high_rate": (TUNING, TUNING.but(forked(ALL_FLATTEST, ALL_FLATTEST))),
    "more_various_minima_from_a_high_rate": (TUNING, TUNING.but(forked(PROFILE, PROFILE))),
}


# regimes_fig6

OF_FIG6 = rates("fig6", "rates")
TRANSITIONS = PlantedRuns(
    "regimes_fig6",
    {
        (OF_FIG6["convergence"],): Converges(SPEED * OF_FIG6["convergence"]),
        (OF_FIG6["border_of_convergence"],): LEAVES,
        (OF_FIG6["low_equilibrium"],): Settles(0.4),
        (OF_FIG6["equilibrium"],): Settles(0.8),
        (OF_FIG6["border_of_divergence"],): Guesses(hits=True),
        (OF_FIG6["divergence"],): Guesses(),
    },
)


def of_transitions(**changed: Course) -> Planted:
    """The runs, and those of which some do something else, by the rate's name."""
    return TRANSITIONS, TRANSITIONS.but({(OF_FIG6[name],): one for name, one in changed.items()})


OF_TRANSITIONS: dict[str, Planted] = {
    "converges_at_the_lowest_rate": of_transitions(convergence=Settles(0.2)),
    "equilibrium_before_convergence": of_transitions(border_of_convergence=Converges(1.0)),
    # It converges slowly all the time.
    "sudden_convergence": of_transitions(border_of_convergence=Converges(0.1)),
    "lower_loss_at_a_lower_rate": of_transitions(low_equilibrium=Settles(1.2)),
    "hits_the_region_at_times": of_transitions(border_of_divergence=Guesses()),
    # It stays in the region.
    "escapes_it_again": of_transitions(border_of_divergence=Settles(1.5)),
    "detects_no_region": of_transitions(divergence=Guesses(hits=True)),
}


# regimes_fig7


def of_runs(runs: str, courses: Mapping[str, Course]) -> Callable[..., Planted]:
    """Make the pairs of a claim on some runs of figure 7, of which some do something else.

    Args:
        runs: their name.
        courses: by the names of rates; those that the scale leaves out are not needed.
    """
    known = rates("fig7", runs, RATE)

    def points(given: Mapping[str, Course]) -> dict[Point, Course]:
        return {(known[name],): course for name, course in given.items() if name in known}

    usual = PlantedRuns("regimes_fig7", points(courses))
    return lambda **changed: (usual, usual.but(points(changed)))


of_decayed = of_runs(
    "decayed",
    {
        "lowest": Converges(0.02),
        "low": Converges(0.1),
        "periodic": Destabilises(6),
        "equilibrium": Settles(1.0, norm_noise=0.03),
        "divergence": Guesses(),
    },
)
of_constant = of_runs(
    "constant",
    {
        "lowest": Converges(0.05),
        "low": Converges(0.1),
        "below": Converges(0.3, 0.5, test_error=0.8),
        "border": LEAVES,
        "high": Settles(1.0),
        "overflow": Overflows(),
    },
)
of_cosine = of_runs(
    "cosine",
    {
        "lowest": Converges(0.1, test_error=1.1),
        "low": Converges(0.3, 0.5),
        "medium": Then(Settles(1.0), Converges(0.5, 0.3, test_error=0.8), 0.5),
        "border": Then(Settles(1.5), Converges(0.3, 0.5, test_error=0.9), 0.7),
        "high": Then(Settles(2.0), Converges(0.1), 0.9),
    },
)

OF_STANDARD_TRAINING: dict[str, Planted] = {
    # One destabilisation makes no period.
    "periodic_jumps_at_a_high_rate_of_the_first_regime": of_decayed(periodic=Destabilises(1)),
    "converges_at_a_low_rate": of_decayed(low=Settles(0.3)),
    # Its norm goes up and down by more than with periods.
    "equilibrium_of_the_effective_rate": of_decayed(equilibrium=Settles(1.0, norm_noise=0.5)),
    # It converges between destabilisations.
    "second_regime_is_there": of_decayed(equilibrium=Destabilises(6)),
    "second_regime_is_no_random_guess": of_decayed(equilibrium=Guesses()),
    "third_regime_is_there": of_decayed(divergence=Settles(3.0, error=0.8)),
    "passes_the_highest_sharpness_at_a_low_rate": of_constant(below=Settles(0.8)),
    "stays_at_the_highest_sharpness_at_a_high_rate": of_constant(high=Converges(0.5)),
    # It is stuck and generalises none the worse.
    "better_at_the_largest_rate_of_the_first_regime": of_constant(
        high=Settles(0.3, test_error=0.05)
    ),
    "better_than_at_a_lower_rate_of_the_first_regime": of_constant(
        low=Converges(0.1, test_error=0.5)
    ),
    "overflows_at_a_very_high_rate": of_constant(overflow=Guesses()),
    "better_from_a_medium_start_than_from_a_low_one": of_cosine(
        lowest=Converges(0.3, test_error=0.5)
    ),
    "better_from_a_medium_start_than_from_a_high_one": of_cosine(
        high=Then(Settles(2.0), Converges(0.5, test_error=0.5), 0.5)
    ),
    "too_little_time_from_a_high_start": of_cosine(high=Then(Settles(2.0), Converges(2.0), 0.5)),
    "better_from_a_higher_start_of_the_first_regime": of_cosine(low=Converges(0.3, test_error=1.8)),
}


# All figures

Place = tuple[str, str]
"""A figure's key and a claim's name."""

TABLES: dict[Place, Planted] = {
    (f"regimes_{figure}", name): planted
    for figure, claims in (
        ("fig1", OF_REGIMES),
        ("fig3", OF_PROFILES),
        ("fig4", OF_FILTERS),
        ("fig5", OF_TUNING),
        ("fig6", OF_TRANSITIONS),
        ("fig7", OF_STANDARD_TRAINING),
    )
    for name, planted in claims.items()
}

WITHOUT_PREMISE: dict[Place, PlantedRuns] = {
    ("regimes_fig3", "comes_to_a_new_trajectory_at_a_higher_rate"): NO_JUMP,
    ("regimes_fig3", "goes_on_at_first_at_a_higher_rate"): NO_JUMP,
    ("regimes_fig3", "converges_again_at_a_higher_rate"): NO_JUMP,
    ("regimes_fig6", "escapes_it_again"): of_transitions(border_of_divergence=Guesses())[1],
}
"""Runs that lack a claim's premise."""

MISSING: dict[str, tuple[PlantedRuns, Sequence[Place]]] = {
    "no run of the first regime": (
        without(CONVERGENCE),
        [
            ("regimes_fig1", name)
            for name in (
                "lower_loss_at_a_higher_rate",
                "flatter_at_a_higher_rate",
                "lower_test_error_at_a_higher_rate",
                "sharp_switch",
                "sharpness_peaks_at_the_border",
            )
        ],
    ),
    "no run of the second regime": (
        without(EQUILIBRIUM),
        [
            ("regimes_fig1", name)
            for name in (
                "sharp_switch",
                "higher_loss_at_a_higher_rate",
                "flatter_at_a_higher_rate_of_the_second_regime",
                "loss_is_steady_in_the_second_regime",
                "gradients_are_steady_in_the_second_regime",
                "sharpness_peaks_at_the_border",
            )
        ],
    ),
    "no jump": (NO_JUMP, [("regimes_fig3", "comes_to_a_new_trajectory_at_a_higher_rate")]),
    "no run from the start converges": (
        NONE_CONVERGED,
        [
            ("regimes_fig5", name)
            for name in ("always_the_flattest_from_a_low_rate", "various_minima_from_a_high_rate")
        ],
    ),
}
"""Runs without those that a claim is about, and the claims."""
