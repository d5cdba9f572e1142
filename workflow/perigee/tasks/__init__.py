"""What a run learns: batches of a split, their loss, and how a split is evaluated."""
