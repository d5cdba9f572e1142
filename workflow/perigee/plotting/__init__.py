"""Drawing tables in one style for all figures; nothing that a claim uses is computed here."""
