"""Configuration classes of all building blocks, importable without torch."""
