"""Proving that a change of code alters no number, by golden runs of old and new code."""
