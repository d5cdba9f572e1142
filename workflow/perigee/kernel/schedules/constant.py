"""The constant learning rate of the papers' main experiments."""

from __future__ import annotations

from perigee.kernel.schedules.base import Schedule


class Constant(Schedule):
    """The base learning rate in every step."""
