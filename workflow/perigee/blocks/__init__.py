"""The configuration classes of all blocks, importable without torch."""
