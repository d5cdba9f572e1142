"""The identity of products: canonical specs, code digests, paths in the store."""
