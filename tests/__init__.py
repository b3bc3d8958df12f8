"""Tests, benches, and what they share."""

import os
import sys

# As whoever installs it has it: without bytecode, each process that a test starts would compile certvigil anew, and
# each run of the tests would compile the tests anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
