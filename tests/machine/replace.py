"""Having the machine replace certificates."""

from __future__ import annotations

import json
from typing import Any

from monitor.lab.ca import Issued
from tests.machine.host import Host, Ran

JOURNAL = "/var/lib/certvigil-actor/journal.jsonl"


def bring(machine: Host, issued: Issued, path: str = "/root/new.pem") -> str:
    """Put a candidate into root's home; return its path."""
    machine.put(path, issued.chain_pem() + issued.key_pem(), 0o600)
    return path


def replace(machine: Host, name: str, issued: Issued, timeout: float = 600.0) -> Ran:
    """Have a component changed by the command, and wait for its end."""
    path = bring(machine, issued, f"/root/{name}-new.pem")
    return machine.run(["certvigil", "replace", name, "--from", path, "--json"], timeout)


def drop(machine: Host, name: str, issued: Issued) -> None:
    """Put a candidate into the inbox of a component, by a rename."""
    inbox = f"/var/lib/certvigil-inbox/{name}"
    path = bring(machine, issued, f"{inbox}/.new")
    machine.sh(f"mv {path} {inbox}/new.pem")


def records(machine: Host) -> list[dict[str, Any]]:
    """Return the records of the journal, which are whole."""
    lines = machine.sh(f"tr -d '\\0' <{JOURNAL}").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def events(machine: Host) -> list[str]:
    """Return the events of the last transaction that began."""
    every = records(machine)
    last = max((at for at, each in enumerate(every) if each["event"] == "begin"), default=len(every))
    return [each["event"] for each in every[last:] if each["transaction"] == every[last]["transaction"]]
