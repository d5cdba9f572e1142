"""The kernel of a training run: all code between spec and weights that can change a number."""
