"""Verifying as clients do: one engine that builds and checks paths, and a row of data for each family of clients."""
