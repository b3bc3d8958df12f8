"""Judging, one file for each group of findings: pure functions from observations to findings."""
