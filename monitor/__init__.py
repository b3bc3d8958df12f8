"""The daemon and its command line: wires the other rooms together."""
