"""Proving that a change of code alters no number, by golden runs of the old and the new code."""
