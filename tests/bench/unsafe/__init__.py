"""Rounds from outside on real processes, each of which must end live on a whole set: see `__main__`."""
