"""A real machine in a test: Debian with its own kernel and systemd in QEMU, with certvigil installed in it."""
