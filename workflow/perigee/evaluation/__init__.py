"""Evaluations of finished runs at their kept checkpoints. Nothing here trains."""
