"""Names of the tensors of a run's state."""

MODEL, OPTIMISER, CONSTRAINT = "model.", "optimiser.", "constraint."
"""Prefixes of the names: weights and statistics of the network, and the states of the others."""
