"""The answer of a command with `--json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

VERSION = 1
"""Of the documents, which `certvigil json-schema` describes."""


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document with the version of its shape, which comes first."""
    sys.stdout.write(f"{json.dumps({'schema': VERSION, **document}, indent=2)}\n")
