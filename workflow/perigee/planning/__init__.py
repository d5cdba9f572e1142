"""What a configuration asks for, what of it is still to be made, and what that costs."""
