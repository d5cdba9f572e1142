"""Training jobs: what happens around the training loop, from beginning to end."""
