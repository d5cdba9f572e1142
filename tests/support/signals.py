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
