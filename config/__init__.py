"""The vocabulary and the declared things: targets, components and policies, and the vocabulary of certvigil."""
