"""What is done to the norm of the scale-invariant weights after a step, one module each."""
