"""Products on disk: written whole or not at all, read only if they are what they say."""
