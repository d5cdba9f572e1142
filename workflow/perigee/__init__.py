"""Perigee: the training dynamics of normalised networks under weight decay."""

__version__ = "0.1.0"
