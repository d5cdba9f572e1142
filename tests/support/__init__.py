"""Support for tests: independent computations to compare with, and builders of small runs."""
