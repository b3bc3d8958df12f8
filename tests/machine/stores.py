"""Scenarios of the appliance's procedures that need a real systemd: a slow start, and keytool in the sandbox."""

from __future__ import annotations

import json
import time
from typing import Final

from tests.machine.house import CONFIG, LIGHTTPD, PORTS, take_up
from tests.machine.judge import told
from tests.machine.life import drop_in
from tests.machine.scenario import Stage

_DARK: Final = f"{LIGHTTPD}/127.0.0.1:{PORTS[LIGHTTPD]}"


def starting_unit(stage: Stage) -> list[str]:
    """While a unit is activating, its port that refuses is not told as unreachable; where it fails, it is."""
    found: list[str] = []
    with stage.host("starting") as machine:
        drop_in(machine, LIGHTTPD, "ExecStartPre=/bin/sleep 45")
        machine.sh("systemctl --no-block restart lighttpd")
        machine.wait_for("systemctl show -P ActiveState lighttpd | grep -qx activating", "lighttpd is activating")
        begun = time.monotonic()
        seen = set()
        while machine.sh("systemctl show -P ActiveState lighttpd").strip() == "activating":
            if (_DARK, "unreachable") in told(machine):
                seen.add(round(time.monotonic() - begun))
        if seen:
            found.append(f"unreachable was told {sorted(seen)} s after the start of a unit that takes 45 s")
        if time.monotonic() - begun < 20:
            found.append("the unit was not activating for long")
        drop_in(machine, LIGHTTPD, "ExecStartPre=/bin/false", "Restart=no")
        machine.run(["systemctl", "restart", "lighttpd"])
        deadline = time.monotonic() + 180
        while (_DARK, "unreachable") not in told(machine):
            if time.monotonic() > deadline:
                found.append(f"three minutes after the unit had failed, only these were told: {told(machine)}")
                break
    return found


def keytool_in_sandbox(stage: Stage) -> list[str]:
    """Have an operator import a root into a JKS: keytool runs within the actor's unit, and Java reads the result."""
    found: list[str] = []
    with stage.host("keytool") as machine:
        other = stage.state.ca.issuing
        machine.put("/srv/app/root.pem", stage.state.ca.root.pem())
        machine.put("/srv/app/other.pem", other.pem())
        store = "-keystore /srv/app/cacerts -storepass changeit"
        machine.sh(f"keytool -importcert -noprompt {store} -storetype JKS -alias base -file /srv/app/root.pem 2>&1")
        machine.sh("useradd --create-home alice")
        section = json.loads(machine.read(CONFIG))
        section["trust_stores"]["app"] = {"bundle": "/srv/app/cacerts", "mode": "approve"}
        section["clients"]["java"] = {"trusts": "app"}
        section["actor"]["operators"] = ["alice"]
        machine.put(CONFIG, json.dumps(section))
        take_up(machine)
        machine.sh("systemctl restart certvigil-actor certvigil")
        machine.wait_for("certvigil status --healthy", "the daemon is healthy")
        argv = ["runuser", "-u", "alice", "--", "certvigil", "trust", "add", "app", "--from", "/srv/app/other.pem"]
        ran = machine.run([*argv, "--alias", "other"], 600)
        if ran.status != 0:
            journal = machine.sh("journalctl -u certvigil-actor -n 20 --no-pager")
            found.append(f"trust add ended with {ran.status}: {ran.output[-1500:]}\n{journal}")
        listed = machine.sh(f"keytool -list {store} 2>&1")
        if "other," not in listed or "base," not in listed:
            found.append(f"keytool lists: {listed}")
        kind = machine.sh("head -c 4 /srv/app/cacerts | od -An -tx1").strip()
        if kind != "fe ed fe ed":
            found.append(f"the keystore begins with {kind}, and is no JKS any more")
    return found
