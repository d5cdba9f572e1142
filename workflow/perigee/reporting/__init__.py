"""Pages of the report: figures with their verdicts, claims, and where every product comes from."""
