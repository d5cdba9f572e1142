"""Data sets: built once into one array file each, then loaded whole onto the device."""
