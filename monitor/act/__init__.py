"""The daemon's part in changing things: it follows the actor's journal, brings it candidates and asks it to act."""
