"""What a product is called: canonical specs, code digests, paths in the store."""
