"""`certvigil config check|schema|show`."""

from __future__ import annotations

import json
import os
import sys

from config.load import load
from config.model import Config
from config.schema.root import json_schema
from config.show import show as render


def check(path: str) -> int:
    """Print every mistake in the configuration at `path`, and return 1 where there is one."""
    config = loaded(path)
    if config is None:
        return 1
    files, endpoints = len(config.watches) + len(config.files), len(config.endpoints)
    sys.stdout.write(f"{path}: ok, {files} files and patterns, {endpoints} endpoints\n")
    return 0


def schema() -> int:
    """Print the JSON Schema."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0


def show(path: str) -> int:
    """Print the effective configuration."""
    config = loaded(path)
    if config is None:
        return 1
    sys.stdout.write(render(config))
    return 0


def loaded(path: str) -> Config | None:
    """Return the configuration at `path`; where it has mistakes, print them all and return None."""
    config = load(path, os.environ)
    if isinstance(config, Config):
        return config
    for mistake in config:
        sys.stderr.write(f"{mistake}\n")
    return None
