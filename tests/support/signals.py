"""Losses and weight norms whose destabilisations are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

RISE_TIME = 8
"""The samples from the loss's onset to the norm's peak in the synthetic signals."""


@dataclass(frozen=True)
class Signal:
    """Loss and norm with destabilisations whose loss starts to rise at ``onsets``."""

    onsets: list[int]
    loss: np.ndarray
    norm: np.ndarray


def sawtooth(lengths: list[int], tail: int, rise: float, noise: float, seed: int) -> Signal:
    """Phases B of the given lengths, in which the norm falls to 1 and the loss falls from 0.3.

    Each is followed by a destabilisation: the loss rises for 4 samples, peaks at 2 and falls; the
    norm starts to rise 2 samples after the loss and peaks 2 samples after the loss's peak.
    """
    rng = np.random.default_rng(seed)
    log_loss, log_norm, onsets = [], [], []
    for number, length in enumerate([*lengths, tail]):
        log_norm.extend(np.log(rise) * (1 - np.arange(1, length + 1) / length))
        log_loss.extend(np.log(0.3) + np.log(1e-3 / 0.3) * np.minimum(1, np.arange(length) / 20))
        if number == len(lengths):
            break
        onsets.append(len(log_loss) - 1)
        fall = -np.log(rise) / length
        log_norm.extend([fall, 2 * fall])
        log_norm.extend(2 * fall + (np.log(rise) - 2 * fall) * np.arange(1, 7) / 6)
        log_loss.extend(np.log(1e-3) + np.log(2 / 1e-3) * np.arange(1, 6) / 5)
        log_loss.extend(np.log(2) + np.log(0.3 / 2) * np.arange(1, 4) / 4)
    wobble = noise * rng.standard_normal(len(log_loss))
    return Signal(onsets, np.exp(np.array(log_loss) + wobble), np.exp(np.array(log_norm)))


@dataclass(frozen=True)
class Planted:
    """A loss and norm over continuous time, with events at known times.

    Attributes:
        falls: the length of each phase B in epochs; a destabilisation follows each but the last.
        rise: the factor by which rho rises in each.
        spike: the factor by which the loss rises.
        level: the loss in phase B.
        fixed: whether rho is constant.
        norms: the lowest rho before each destabilisation; 1 if not given.
        loss_rises: the epochs from the end of phase B to the peak of the loss.
        norm_rises_from, norm_rises_to: those to the beginning and the end of rho's rise.
        loss_left: the share of the loss's rise, in the logarithm, that is left when rho peaks.
    """

    falls: tuple[float, ...]
    rise: float = 1.5
    spike: float = 100.0
    level: float = 1e-3
    fixed: bool = False
    norms: tuple[float, ...] = ()
    loss_rises: float = 1.5
    norm_rises_from: float = 0.5
    norm_rises_to: float = 3.0
    loss_left: float = 0.5

    @property
    def onsets(self) -> list[float]:
        """The times at which the losses begin to rise, in epochs."""
        ends = np.cumsum(np.array(self.falls) + self.norm_rises_to) - self.norm_rises_to
        return [float(end) for end in ends[:-1]]

    @property
    def norm_onsets(self) -> list[float]:
        """The times at which rho is lowest."""
        return [onset + self.norm_rises_from for onset in self.onsets]

    @property
    def norm_peaks(self) -> list[float]:
        """The times at which rho is highest."""
        return [onset + self.norm_rises_to for onset in self.onsets]

    @property
    def end(self) -> float:
        """The last time, in epochs."""
        return float(sum(self.falls) + self.norm_rises_to * (len(self.falls) - 1))

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss and rho at some times in epochs; their logarithms are piecewise linear."""
        loss: list[tuple[float, float]] = []
        norm: list[tuple[float, float]] = []
        high, low, top = (np.log(self.level * self.spike**p) for p in (self.loss_left, 0.0, 1.0))
        lowest = np.log(self.norms or [1.0] * len(self.onsets))
        start = 0.0
        for number, fall in enumerate(self.falls):
            end = start + fall
            if not number or self.loss_rises < self.norm_rises_to:
                loss.append((start, high))
            loss += [(start + 0.3 * fall, low), (end, low)]
            before = lowest[max(number - 1, 0)] if len(lowest) else 0.0
            norm.append((start, before + np.log(self.rise)))
            if number == len(self.falls) - 1:
                norm.append((end, before))
                break
            loss.append((end + self.loss_rises, top))
            norm.append((end + self.norm_rises_from, lowest[number]))
            start = end + self.norm_rises_to
        log_loss = np.interp(times, *np.array(loss).T)
        log_norm = np.interp(times, *np.array(norm).T)
        return np.exp(log_loss), np.full(len(times), 3.0) if self.fixed else np.exp(log_norm)


@dataclass(frozen=True)
class Wobbling:
    """A loss and norm that wobble around a level from epoch to epoch, without events.

    Attributes:
        end: the last time, in epochs.
        loss: the level of the loss.
        norm: the level of rho.
        width: the standard deviation of the logarithm of rho; that of the loss is 0.2.
        seed: of the random numbers.
    """

    end: float = 240.0
    loss: float = 1.5
    norm: float = 13.0
    width: float = 0.03
    seed: int = 0

    onsets: ClassVar[list[float]] = []
    norm_peaks: ClassVar[list[float]] = []

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss and rho at some times in epochs; between epochs they are interpolated."""
        epochs = np.arange(int(self.end) + 1)
        wobble = np.random.default_rng(self.seed).standard_normal((2, len(epochs)))
        log_loss, log_norm = (np.interp(times, epochs, one) for one in wobble)
        return self.loss * np.exp(0.2 * log_loss), self.norm * np.exp(self.width * log_norm)
