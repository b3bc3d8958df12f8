"""Runbooks filled with this host's facts, and kits that bring roots to other machines."""
