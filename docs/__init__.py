"""The documentation: its pages, and the generators of some of them."""
