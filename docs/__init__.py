"""The documentation: its pages, and what generates some of them."""
