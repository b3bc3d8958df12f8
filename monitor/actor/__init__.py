"""The actor: the one with the rights to act, asked for components by name and for plans by hash."""
