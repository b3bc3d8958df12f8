"""Looking at live TLS endpoints: a sans-I/O handshake and its drivers."""
