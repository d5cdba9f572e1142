"""Pages of the report beside the figures: the claims, and where every product comes from."""
