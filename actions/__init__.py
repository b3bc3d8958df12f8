"""Changing things safely: the only room that writes outside the state directory."""
