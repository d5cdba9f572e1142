"""Losses and weight norms whose destabilisations are known."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    falls: tuple[float, ...]
    rise: float = 1.5
    spike: float = 100.0
    level: float = 1e-3
    fixed: bool = False

    LOSS_RISES = 1.5
    NORM_RISES_FROM, NORM_RISES_TO = 0.5, 3.0
    """The epochs from the end of phase B to the peak of the loss, and to those of rho's rise."""

    @property
    def onsets(self) -> list[float]:
        """The times at which the losses begin to rise, in epochs."""
        ends = np.cumsum(np.array(self.falls) + self.NORM_RISES_TO) - self.NORM_RISES_TO
        return [float(end) for end in ends[:-1]]

    @property
    def norm_onsets(self) -> list[float]:
        """The times at which rho is lowest."""
        return [onset + self.NORM_RISES_FROM for onset in self.onsets]

    @property
    def end(self) -> float:
        """The last time, in epochs."""
        return float(sum(self.falls) + self.NORM_RISES_TO * (len(self.falls) - 1))

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss and rho at some times in epochs; their logarithms are piecewise linear."""
        loss: list[tuple[float, float]] = []
        norm: list[tuple[float, float]] = []
        high, low, top = (np.log(self.level * self.spike**p) for p in (0.5, 0.0, 1.0))
        start = 0.0
        for number, fall in enumerate(self.falls):
            end = start + fall
            loss += [(start, high), (start + 0.3 * fall, low), (end, low)]
            norm += [(start, np.log(self.rise))]
            if number == len(self.falls) - 1:
                norm.append((end, 0.0))
                break
            loss.append((end + self.LOSS_RISES, top))
            norm.append((end + self.NORM_RISES_FROM, 0.0))
            start = end + self.NORM_RISES_TO
        log_loss = np.interp(times, *np.array(loss).T)
        log_norm = np.interp(times, *np.array(norm).T)
        return np.exp(log_loss), np.full(len(times), 3.0) if self.fixed else np.exp(log_norm)
