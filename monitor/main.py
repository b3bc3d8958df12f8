"""Where the command `certvigil` begins."""

from __future__ import annotations

import sys
from importlib.metadata import version


def main() -> None:
    """Run the command line; `--version` alone answers without loading the rest."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"certvigil {version('certvigil')}\n")
        return
    from monitor.commands import app  # noqa: PLC0415 (what a command needs is loaded when it is asked for)

    app()


if __name__ == "__main__":
    main()
