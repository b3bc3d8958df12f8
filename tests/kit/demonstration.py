"""A demonstration as its user runs it, on this machine or on one where no server is installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from monitor.lab.process import find_command
from tests.kit import bare_machine
from tests.kit.bare_machine import HURRY
from tests.kit.daemon import begun


def demonstrate(
    directory: Path, *arguments: str, servers: bool, hurry: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a demonstration that keeps its files below `directory`; without `servers`, none can be found."""
    environment = {**os.environ, "TMPDIR": str(directory)}
    if not servers:
        setpriv, tools = find_command("setpriv"), directory / "tools"
        assert setpriv is not None
        tools.mkdir()
        (tools / "setpriv").symlink_to(setpriv)
        environment |= {"PATH": str(tools), **({HURRY: "1"} if hurry else {})}
    module = "monitor.main" if servers else bare_machine.__name__
    pipe = subprocess.PIPE
    with begun("demo", *arguments, module=module, stdout=pipe, stderr=pipe, text=True, env=environment) as running:
        said = running.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, running.wait(), *said)
