"""Tests, benches, and what they share."""

import os

# As whoever installs it has it: without its bytecode, each process that a test starts would compile certvigil anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
