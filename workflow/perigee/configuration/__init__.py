"""From the files in config/ to validated figures, tables and runs at one scale; without torch."""
