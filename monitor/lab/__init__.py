"""A small appliance on loopback: a private CA that can also break things, and servers that present what it issued."""
