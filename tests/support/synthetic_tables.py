"""Tables of the form that claims are judged on, with properties known by construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perigee.analysis.period_statistics import statistics_of
from support.signals import sawtooth

RATE = "optimiser.learning_rate"
DECAY = 0.01
"""The weight decay of all tables."""
NORM_LAG = 3
"""The steps from the first of phase C to rho's minimum in `table_of_period`."""
NORM_ONSET = 2
"""The samples from the rise of a `sawtooth`'s loss to that of its norm."""


@dataclass(frozen=True)
class Periodic:
    """A run with destabilisations.

    Attributes:
        levels: rho at the beginning of each destabilisation.
        length: epochs of each phase B.
        tail: epochs after the last destabilisation.
        test_errors: test error of each stretch between destabilisations, one more than these.
    """

    levels: Sequence[float]
    length: int = 60
    tail: int = 40
    test_errors: Sequence[float] = ()

    def rows(self, seed: int) -> pd.DataFrame:
        count = len(self.levels)
        signal = sawtooth([self.length] * count, self.tail, 2.0, 0.02, seed)
        epochs = np.arange(len(signal.loss))
        onsets = np.array(signal.onsets, dtype=int) + NORM_ONSET
        # The signal has rho = 1 at every onset; in between, its level changes steadily.
        level = np.exp(np.interp(epochs, onsets, np.log(self.levels))) if count else 1.0
        test_errors = self.test_errors or np.linspace(0.1, 0.05, count + 1)
        # A stretch's lowest error stands in its middle: noise and destabilisations raise it.
        noise = 0.2 * np.abs(np.random.default_rng((seed, 1)).standard_normal(len(epochs)))
        noise[(onsets[:, None] + np.arange(-1, 6)).ravel()] = 3
        stretch = np.searchsorted(onsets, epochs)
        noise[[int(np.flatnonzero(stretch == s).mean()) for s in range(count + 1)]] = 0
        return pd.DataFrame(
            {
                "epoch": epochs,
                "train_loss": signal.loss,
                "test_error": np.asarray(test_errors)[stretch] * (1 + noise),
                "weight_norm": level * signal.norm,
            }
        )


@dataclass(frozen=True)
class Stuck:
    """A run whose train loss wobbles around a level and whose norm goes nowhere."""

    loss: float = 1.5
    epochs: int = 300

    def rows(self, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        wobble = np.exp(0.2 * rng.standard_normal((3, self.epochs)))
        columns = {
            "train_loss": self.loss * wobble[0],
            "test_error": 0.6 * wobble[1],
            "weight_norm": 13 * wobble[2],
        }
        return pd.DataFrame({"epoch": np.arange(self.epochs), **columns})


@dataclass(frozen=True)
class OnSphere:
    """A run with a fixed norm that learns the training set and keeps it, but for spikes.

    Attributes:
        spikes: epochs at which the loss jumps; five epochs later it is near zero again.
        late_test_error: where the test error ends.
        final_loss: where the train loss ends.
    """

    spikes: Sequence[int] = ()
    late_test_error: float = 0.05
    final_loss: float = 1e-3
    epochs: int = 150

    def rows(self, seed: int) -> pd.DataFrame:
        epochs = np.arange(self.epochs)
        wobble = np.exp(0.2 * np.random.default_rng(seed).standard_normal(self.epochs))
        loss = (self.final_loss + 2.0 * np.exp(-epochs / 4)) * wobble
        for spike in self.spikes:
            loss[spike : spike + 5] = (1.2, 0.8, 0.4, 0.2, 0.08)
        return pd.DataFrame(
            {
                "epoch": epochs,
                "train_loss": loss,
                "test_error": self.late_test_error * (1 + 10 * np.exp(-epochs / 4)),
                "weight_norm": 4.0,
            }
        )


@dataclass(frozen=True)
class Trajectory:
    """A run whose gradient norm goes with its train loss, in any regime of Kodryan et al. 2022.

    Attributes:
        level: where the train loss ends.
        speed: the share of its way there, in the logarithm, that it goes in the first epoch.
        gradient: the effective gradient norm at a train loss of 1.
        wobble: the size of the train loss's noise.
        start: where the train loss begins.
        test_error, late_test_error: where the test error begins and ends.
        epochs: how many.
        stops_at: the epoch whose train loss is not finite, at which the run stops.
    """

    level: float
    speed: float = 0.1
    gradient: float = 1.0
    wobble: float = 0.05
    start: float = 5.0
    test_error: float = 0.95
    late_test_error: float = 0.1
    epochs: int = 100
    stops_at: int | None = None

    def rows(self, seed: int) -> pd.DataFrame:
        epochs = np.arange(self.epochs + 1)
        noise = np.random.default_rng(seed).standard_normal((3, len(epochs)))
        left = (1 - self.speed) ** epochs
        noise[:, 0] = 0
        loss = self.level * (self.start / self.level) ** left * np.exp(self.wobble * noise[0])
        gradient = self.gradient * loss**0.5 * np.exp(0.1 * noise[1])
        test_error = self.late_test_error ** (1 - left) * self.test_error**left
        rows = pd.DataFrame(
            {
                "epoch": epochs,
                "train_loss": loss,
                "train_error": np.minimum(loss / 5, 0.985),
                "test_error": np.minimum(test_error * np.exp(0.05 * noise[2]), 0.99),
                "weight_norm": 9.0,
                "effective_gradient_norm": gradient,
                "full_gradient_norm": gradient / 9,
            }
        )
        if self.stops_at is None:
            return rows
        rows.loc[self.stops_at, ["train_loss", "effective_gradient_norm"]] = np.nan
        return rows[: self.stops_at + 1]


@dataclass(frozen=True)
class Leaving:
    """A run that is on one trajectory up to an epoch, and then on another."""

    before: Trajectory
    after: Trajectory
    epoch: int

    def rows(self, seed: int) -> pd.DataFrame:
        rows = [self.before.rows(seed)[: self.epoch], self.after.rows(seed)]
        table = pd.concat(rows, ignore_index=True)[: self.before.epochs + 1]
        return table.assign(epoch=np.arange(len(table)))


Signal = Periodic | Stuck | OnSphere


def table_of_statistics(
    runs: Sequence[tuple[Mapping[str, float | str], Signal]], seeds: Sequence[int] = (0,)
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.period_statistics` for runs with these settings."""
    rows = [
        {**settings, "seed": seed, "stopped": False, **statistics_of(run.rows(seed))}
        for settings, run in runs
        for seed in seeds
    ]
    return pd.DataFrame([{"run": number, **row} for number, row in enumerate(rows)])


def table_of_runs(
    runs: Mapping[float, Periodic | Stuck], seeds: Sequence[int] = (0,)
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.run_metrics` for these learning rates and seeds."""
    parts = []
    for rate, run in runs.items():
        for seed in seeds:
            part = run.rows(seed).assign(**{RATE: rate, "seed": seed}, stopped=False)
            parts.append(part.assign(learning_rate=rate))
    return pd.concat([part.assign(run=i) for i, part in enumerate(parts)], ignore_index=True)


def table_of_period(
    *,
    gradient: float = 1.0,
    turn: float = 1.0,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.one_period`, with the columns that claims use.

    Args:
        gradient: the effective gradient norm of each step over that which makes rho of the next.
        turn: the cosine distance of each step over that which this gradient makes.
        seeds: seeds of the runs.
    """
    phases = np.repeat(["before", "A", "B", "C", "after"], [5, 20, 200, 20, 5])
    steps = np.arange(len(phases))
    b_from, c_from = 25, 225
    lowest = c_from + NORM_LAG
    # Under a gradient that hardly changes rho^4 nears its end at almost 4 eta lambda a step, while
    # steps turn the weights by more and more.
    left = np.exp(-3.8 * DECAY * np.linspace(0, 200, lowest - b_from + 1))
    fall = (1 + 15 * (left - left[-1]) / (1 - left[-1])) ** 0.25
    rise = np.geomspace(1, 2, len(steps) - lowest)
    norm = np.concatenate((np.linspace(1.2, 2, b_from), fall, rise[1:]))
    # A right triangle has the shrunken weights and the tangential gradient step as legs; rate 1.
    shrunken = (1 - DECAY) * norm
    leg = np.sqrt(np.append(norm[1:], 1.01 * norm[-1]) ** 2 - shrunken**2)
    distance = turn * (1 - np.cos(np.arctan(leg / shrunken)))
    parts = []
    for number, seed in enumerate(seeds):
        part = pd.DataFrame({"run": number, "seed": seed, "step": 1000 + steps, "phase": phases})
        part = part.assign(
            weight_norm=norm,
            learning_rate=1.0,
            effective_gradient_norm=gradient * norm * leg,
            cosine_distance=distance,
        )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def table_of_images(
    errors: Mapping[str, float], seeds: Sequence[int] = (0,), images: int = 300
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.late_image_errors` for runs with these labels.

    Some images are harder than others, and a bit more so under some seeds.

    Args:
        errors: the mean error by label, about.
        seeds: seeds of the runs.
        images: the number of test images.
    """
    hardness = np.random.default_rng(0).exponential(1, images)
    hardness /= hardness.mean()
    settings = [(label, seed) for label in errors for seed in seeds]
    parts = []
    for number, (label, seed) in enumerate(settings):
        noise = np.random.default_rng((seed, number)).uniform(0.9, 1.1, images)
        part = pd.DataFrame({"run": number, "label": label, "seed": seed, "image": range(images)})
        parts.append(part.assign(late_error=errors[label] * hardness * noise * (1 + 0.01 * seed)))
    return pd.concat(parts, ignore_index=True)


def table_of_gains(
    gains: Sequence[float] = (0.1, 0.5, 0.7, 0.8), seeds: Sequence[int] = (0,), images: int = 300
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.similarity.tabulate_gains`.

    Args:
        gains: the mean gain with the anchor, relative to that with an independent network, in each
            period.
        seeds: seeds of the runs.
        images: the number of test images.
    """
    hardness = np.random.default_rng(0).exponential(0.02, images)
    parts = []
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        for period, gain in enumerate(gains):
            for partner, share in (("anchor", gain), ("independent", 1.0)):
                noise = rng.uniform(0.9, 1.1, images) * (1 + 0.01 * seed)
                part = pd.DataFrame({"run": number, "seed": seed, "period": period}, range(images))
                part = part.assign(
                    last=0 < period == len(gains) - 1,
                    partner=partner,
                    image=range(images),
                    gain=share * hardness * noise,
                )
                parts.append(part)
    return pd.concat(parts, ignore_index=True)


def table_of_similarity(
    *,
    inside: float = 0.99,
    cosines: Sequence[float] = (0.8, 0.6, 0.45),
    independent_cosine: float = 0.01,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """A table like that of `perigee.analysis.similarity`.

    Each period has ten checkpoints in phase B and five others.

    Args:
        inside: lowest cosine similarity with the anchor in its own period.
        cosines: mean cosine similarity of each later period.
        independent_cosine: cosine similarity with the independent run's checkpoint, everywhere.
        seeds: seeds of the runs.
    """
    parts = []
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        means = [(1 + inside) / 2, *cosines]
        periods = np.repeat(np.arange(len(means)), 15)
        phases = np.tile(["B"] * 10 + ["C"] * 2 + ["A"] * 3, len(means))
        within = np.tile([*np.linspace(1, -1, 10), *np.linspace(-1, 1, 5)], len(means))
        cosine = np.repeat(means, 15) + within * (1 - inside) / 2
        single = np.where(phases == "B", 0.06, 0.5) + rng.uniform(-0.01, 0.01, len(periods))
        part = pd.DataFrame({"run": number, "seed": seed, "epoch": 100 + np.arange(len(periods))})
        part = part.assign(
            period=periods,
            phase=phases,
            minimum=phases == "B",
            test_error=single,
            anchor_epoch=100,
            anchor_test_error=0.06,
            cosine_similarity=cosine,
            ensemble_test_error=single - 0.02 * np.minimum(periods, 2) / 2,
            independent_cosine_similarity=independent_cosine,
            independent_test_error=0.062,
            independent_ensemble_test_error=single - 0.02,
        )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
