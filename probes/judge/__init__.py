"""Judging, one file for each group of findings: pure functions from what was seen to what is wrong with it."""
