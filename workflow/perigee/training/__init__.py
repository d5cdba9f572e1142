"""Training: where a job begins, the loop, the logs, and the saved state."""
