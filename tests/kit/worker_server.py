"""What the workers of a whole run are forked off from: `python -m tests.kit.worker_server SOCKET [OPTIONS]`.

It has imported all tests. Else each worker would import them by itself, make their keys and certificates, and look for
constants for hypothesis. `tests.kit.worker` is what pytest-xdist starts as a worker's Python.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


class _Imports:
    """Imports all tests as pytest does, with their assertions rewritten, in the place of the collection."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        # The product need not be compiled twice.
        importlib.import_module("tests.kit.fork_server")
        names = [
            ".".join(each.relative_to(ROOT).with_suffix("").parts)
            for each in sorted((ROOT / "tests").rglob("test_*.py"))
        ]
        if not list((ROOT / "tests" / "__pycache__").glob("test_*-pytest-*.pyc")) and os.fork() == 0:
            # Compiling takes longest in a new clone: half of it is done by another processor.
            _import(names[1::2])
            os._exit(0)
        _import(names[::2])
        _import(names)
        with suppress(ImportError):
            from hypothesis.internal.conjecture.providers import _get_local_constants  # noqa: PLC0415 (its place may vary)

            _get_local_constants()
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        return True


def _import(names: Sequence[str]) -> None:
    for each in names:
        # Why one cannot be imported is said when it is collected.
        with suppress(Exception):
            importlib.import_module(each)


def main(address: str, *options: str) -> None:
    """Fork until standard input ends; what a fork is to do is given as the code of `python -c`."""
    gc.disable()
    with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stdout(nothing):
        pytest.main(["-n", "0", *options], plugins=[_Imports()])
    from tests.kit.fork_server import serve  # noqa: PLC0415 (only once pytest rewrites assertions)

    given = serve(address)
    sys.argv = ["-c"]
    exec(given["arguments"][-1], {"__name__": "__main__"})


if __name__ == "__main__":
    main(*sys.argv[1:])
