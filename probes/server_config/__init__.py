"""The configuration of servers: which certificate a server is told to serve, and where; read, never edited."""
