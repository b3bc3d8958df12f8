"""What is known of every target, kept in one place, and the events by which a change is made known."""
