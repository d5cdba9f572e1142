"""The configuration of every building block that a run or figure may name, importable without torch."""
