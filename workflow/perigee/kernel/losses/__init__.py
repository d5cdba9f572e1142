"""What training minimises, one module each."""
