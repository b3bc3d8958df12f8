"""Whether the machine holds a whole set of each component, serves it, and says what happened."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monitor.lab.ca import Issued
from tests.machine.host import Host
from tests.machine.house import FILES, NAME, PORTS, contents, fingerprint

_LOOK: Final = (Path(__file__).parent / "guest/look.py").read_bytes()
_SERVES_WITHIN: Final = 180.0
"""Seconds after which a unit that was told to start must serve, on an emulated processor."""
_MODES: Final = {".crt": 0o644, ".key": 0o600, ".pem": 0o600}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the machine holds and serves."""

    files: Mapping[str, Mapping[str, Any] | None]
    beside: Sequence[str]
    """Hidden files beside those of components, but those that stay linked for a while."""
    served: Mapping[str, str]
    """By port: the SHA-256 of the leaf."""

    def holds(self, name: str, issued: Issued) -> bool:
        """Whether all files of a component are those of a certificate."""
        wanted = {path: hashlib.sha256(data).hexdigest() for path, data in contents(name, issued).items()}
        return all((self.files[path] or {}).get("sha256") == data for path, data in wanted.items())

    def serves(self, name: str, issued: Issued) -> bool:
        """Whether the port of a component presents a certificate."""
        return self.served[str(PORTS[name])] == fingerprint(issued)


def look(machine: Host, names: Sequence[str] = tuple(FILES)) -> Seen:
    """Look at the files and the ports of components, from inside."""
    files = [path for name in names for path in FILES[name].values()]
    asked = json.dumps({"files": files, "ports": [PORTS[name] for name in names], "name": NAME})
    found = machine.run(["python3", "-", asked], given=_LOOK).json
    return Seen(found["files"], found["beside"], found["served"])


def wrong(machine: Host, allowed: Mapping[str, Sequence[Issued]], *, within: float = _SERVES_WITHIN) -> list[str]:
    """Return what is wrong, as sentences: `allowed` has for each component the sets of which one is to be live."""
    deadline = time.monotonic() + within
    while found := list(unsafe(look(machine, tuple(allowed)), allowed)):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    return [*found, *recorded(machine)]


def unsafe(seen: Seen, allowed: Mapping[str, Sequence[Issued]]) -> Iterator[str]:
    """Yield how a component is not live on a whole set that may be there, as sentences."""
    for name, sets in allowed.items():
        whole = [each for each in sets if seen.holds(name, each)]
        if not whole:
            yield f"{name}: what is on disk is none of the {len(sets)} sets that may be there: {_shown(seen, name)}"
        elif not seen.serves(name, whole[0]):
            yield f"{name} serves {seen.served[str(PORTS[name])]} with {fingerprint(whole[0])} on disk"
        for path in FILES[name].values():
            found = seen.files[path]
            if found is not None and (found["mode"], found["owner"]) != (_MODES[path[-4:]], "0:0"):
                yield f"{path} has the mode {found['mode']:o} and the owner {found['owner']}"
    if seen.beside:
        yield f"left beside the files: {', '.join(seen.beside)}"


def _shown(seen: Seen, name: str) -> str:
    return ", ".join(f"{path} {(seen.files[path] or {}).get('sha256', 'gone')}" for path in FILES[name].values())


def recorded(machine: Host) -> list[str]:
    """Return what journal and audit do not say as they should, as sentences."""
    found: list[str] = []
    ran = machine.run(["certvigil", "recover", "--json"])
    if ran.status != 0:
        found.append(f"certvigil recover ends with {ran.status}: {ran.output[-800:]}")
    elif (document := ran.json).get("frozen") or document.get("endings"):
        found.append(f"certvigil recover had something to do, or holds something frozen: {ran.output[-800:]}")
    audit = machine.run(["certvigil", "audit", "--verify"])
    if audit.status != 0:
        found.append(f"certvigil audit --verify ends with {audit.status}: {audit.output[-500:]}")
    return found


def told(machine: Host) -> set[tuple[str, str]]:
    """Return the findings that people are told, by target and code: not those that are only pending."""
    targets = machine.run(["certvigil", "status", "--json"]).json["targets"]
    return {(each["target"], found["code"]) for each in targets for found in each["findings"]}
