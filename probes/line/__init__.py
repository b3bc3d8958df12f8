"""A line of a configuration file that names a chain: whether it is there, and its edits; bytes in, bytes out."""
