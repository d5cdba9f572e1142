"""Tasks: batches of a split, their loss, and how a split is evaluated, one module each."""
