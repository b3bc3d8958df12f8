"""What a client says in the clear before the TLS handshake: `registry` has the table, each protocol has a module."""
