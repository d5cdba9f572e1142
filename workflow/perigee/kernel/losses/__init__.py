"""The losses that training can minimise, one module each."""
