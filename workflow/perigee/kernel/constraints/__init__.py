"""Conditions that the scale-invariant weights fulfil after every step, one module each."""
