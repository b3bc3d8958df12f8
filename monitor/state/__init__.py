"""The state of every target, kept in one place, and the events and messages by which a change is told."""
