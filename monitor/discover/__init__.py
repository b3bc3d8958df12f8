"""Finding what is on a host without a configuration: ports, servers, certificates; the proof, and a configuration."""
