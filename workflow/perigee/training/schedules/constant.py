"""The constant learning rate of the papers' main experiments."""

from __future__ import annotations

from perigee.training.schedules.base import Schedule


class Constant(Schedule):
    """The base learning rate in every step."""
