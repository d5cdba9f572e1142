"""The configuration of every block that a run or figure may name, importable without torch."""
