"""Scenarios on a small appliance, with the real daemon and the real actor."""
