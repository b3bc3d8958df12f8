"""What a command or a process never uses, it never loads: each list here is what was found to be dear, and not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from monitor.lab.ca import Authority

FRAMEWORKS: Final = (
    "fastapi",
    "starlette",
    "sqlalchemy",
    "sqlmodel",
    "alembic",
    "apprise",
    "apscheduler",
    "rich.console",
)
LIBRARIES: Final = (
    *FRAMEWORKS,
    "yaml",
    "pydantic",
    "uvicorn",
    "prometheus_client",
    "watchdog",
    "uvloop",
    "OpenSSL.SSL",
)
COMMAND: Final = "from monitor.main import main; main()"
CONFIGURATION: Final = "from config.load import load; assert load(sys.argv[1], {}).watches;"
NEVER: Final = {
    "help": (COMMAND, (*LIBRARIES, "asyncio", "cryptography", "importlib.metadata", "rich", "config.model")),
    "check": (
        COMMAND,
        (*set(LIBRARIES) - {"OpenSSL.SSL"}, "asyncio", "importlib.metadata", "config.load", "probes.tls.drive"),
    ),
    "actor": (
        f"{CONFIGURATION} import monitor.commands.run, monitor.actor.server",
        (*FRAMEWORKS, "uvicorn", "prometheus_client", "multiprocessing", "monitor.http"),
    ),
    "daemon": (
        f"{CONFIGURATION} import monitor.commands.run, monitor.daemon",
        (*FRAMEWORKS, "concurrent.futures.process", "rich", "monitor.http.answers", "monitor.store.tables"),
    ),
}
"""By process: how it begins, and what it must not have loaded then."""


@pytest.mark.parametrize("process", NEVER)
def test_what_is_not_used_is_not_loaded(process: str, tmp_path: Path) -> None:
    begins, never = NEVER[process]
    certificate, config = tmp_path / "site.pem", tmp_path / "certvigil.yaml"
    certificate.write_bytes(Authority.root().issue("www.example.com").pem())
    config.write_text(f"watch: [{{files: [{certificate}]}}]\n")
    config.chmod(0o600)
    given = {"help": ["--help"], "check": ["check", str(certificate)]}.get(process, [str(config)])
    tell = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
    ran = subprocess.run(
        [sys.executable, "-c", f"{tell} {begins}", *given], capture_output=True, text=True, check=False, cwd="/"
    )
    loaded = set(ran.stderr.split())
    assert ran.returncode == 0, ran.stderr
    assert "config.vocabulary" in loaded
    assert sorted(loaded & set(never)) == []
