"""Networks, and which of their parameters are scale-invariant."""
