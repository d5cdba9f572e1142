"""Training: the update rules, the metrics at fixed weights, and the loop around them."""
