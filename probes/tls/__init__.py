"""Looking at TLS endpoints: a sans-I/O handshake and its drivers."""
