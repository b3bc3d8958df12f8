"""The vocabulary and the declared things: what certvigil is told to look at, and the words it uses for what it sees."""
