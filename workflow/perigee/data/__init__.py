"""Data sets: each is built once, as arrays in one file or as listings of image files."""
