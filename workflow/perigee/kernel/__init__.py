"""The kernel of a training run: all between its spec and its weights that can move a number."""
