"""Scenarios of a machine's life: its boot, and replacements under Debian's units, with what may go wrong there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from monitor.lab.ca import Issued
from tests.machine.host import Host
from tests.machine.house import CONFIG, FILES, LIGHTTPD, NGINX, UNITS, await_quiet, take_up
from tests.machine.judge import look, recorded, wrong
from tests.machine.replace import drop, events, replace
from tests.machine.scenario import Stage

_FLOOR: Final = "import cryptography.x509, sqlite3, ssl"
_KILL: Final = (Path(__file__).parent / "guest/kill_actor.py").read_bytes()


def boot(stage: Stage) -> list[str]:
    """Start systemd: order, users, directories; everything comes up by itself and is well."""
    with stage.host("boot") as machine:
        return after_boot(stage, machine)


def cold_boot(stage: Stage) -> list[str]:
    """Start the machine from cold, with its own kernel."""
    with stage.machine("cold-boot", cold=True) as machine:
        return after_boot(stage, machine)


def after_boot(stage: Stage, machine: Host) -> list[str]:
    """Return what is wrong with a machine that has just been started."""
    machine.wait_for("systemctl is-system-running --wait || true; systemctl is-active " + " ".join(UNITS), "all is up")
    await_quiet(machine)
    found: list[str] = []
    failed = machine.sh("systemctl list-units --failed --plain --no-legend").strip()
    if failed:
        found.append(f"units have failed: {failed}")
    times = {name: _times(machine, f"{name}.service") for name in ("certvigil-recover", *UNITS)}
    over = times["certvigil-recover"]["ExecMainExitTimestampMonotonic"]
    if not over:
        found.append("certvigil-recover did not run")
    early = [name for name in UNITS if times[name]["ExecMainStartTimestampMonotonic"] < over]
    found += [f"{name} was started before certvigil-recover had ended" for name in early]
    if times["certvigil"]["ActiveEnterTimestampMonotonic"] < times["certvigil-actor"]["ActiveEnterTimestampMonotonic"]:
        found.append("the daemon was ready before the actor was")
    found += _furniture(machine)
    found += _exposure(stage, machine)
    problems = machine.run(["certvigil", "doctor"])
    if problems.status != 0:
        found.append(f"doctor finds: {problems.output}")
    served = look(machine)
    if any(each.startswith("nothing") for each in served.served.values()):
        found.append(f"not served: {served.served}")
    return [*found, *recorded(machine)]


def _times(machine: Host, unit: str) -> dict[str, int]:
    names = ("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    lines = machine.sh(f"systemctl show -p {','.join(names)} {unit}").splitlines()
    return {name: int(value) for name, _, value in (each.partition("=") for each in lines)}


def _furniture(machine: Host) -> list[str]:
    """Return what users and directories are not as sysusers and tmpfiles should have made them."""
    wanted = {
        "/run/certvigil": "755 certvigil",
        "/run/certvigil-actor": "755 root",
        "/var/lib/certvigil": "700 certvigil",
        "/var/lib/certvigil-actor": "700 root",
        "/var/lib/certvigil-inbox": "755 root",
        f"/var/lib/certvigil-inbox/{NGINX}": "755 root",
    }
    found: list[str] = []
    for path, expected in wanted.items():
        made = machine.run(["stat", "-c", "%a %U", path]).output.strip()
        if made != expected:
            found.append(f"{path} is `{made}`, expected `{expected}`")
    groups = machine.sh("id -Gn certvigil").split()
    if "certvigil-actor" not in groups:
        found.append(f"the daemon's user is in {groups}")
    return found


def _exposure(stage: Stage, machine: Host) -> list[str]:
    found: list[str] = []
    units = ("certvigil.service", "certvigil-actor.service", "certvigil-recover.service")
    verified = machine.run(
        ["systemd-analyze", "verify", "--man=no", *(f"/etc/systemd/system/{each}" for each in units)]
    )
    if verified.status != 0 or verified.output.strip():
        found.append(f"systemd-analyze verify: {verified.output}")
    for number, unit in (("exposure_daemon", units[0]), ("exposure_actor", units[1])):
        lines = machine.sh(f"systemd-analyze security --no-pager {unit}").splitlines()
        stage.numbers[number] = float(lines[-1].split(":")[1].split()[0])
    return found


def ready(stage: Stage) -> list[str]:
    """Start the daemon several times: from its start to READY, against an interpreter with its libraries."""
    stage.played = 3
    with stage.host("ready") as machine:
        floors, starts = [], []
        for _ in range(stage.played):
            begun = float(machine.sh(f"cut -d' ' -f1 /proc/uptime; /opt/certvigil/bin/python -c '{_FLOOR}'").split()[0])
            floors.append(float(machine.sh("cut -d' ' -f1 /proc/uptime").split()[0]) - begun)
            machine.sh("systemctl restart certvigil")
            times = _times(machine, "certvigil.service")
            starts.append((times["ActiveEnterTimestampMonotonic"] - times["ExecMainStartTimestampMonotonic"]) / 1e6)
        stage.numbers["boot_to_ready_vs_floor"] = round(min(starts) / min(floors), 2)
        await_quiet(machine)
        return recorded(machine)


def by_command(stage: Stage) -> list[str]:
    """`certvigil replace` changes nginx's pair and lighttpd's combined file; each is served at its end."""
    found: list[str] = []
    stage.played = len(FILES)
    with stage.host("by-command") as machine:
        for name in FILES:
            issued = stage.state.ca.issue(machine)
            ran = replace(machine, name, issued)
            if ran.status != 0:
                found.append(f"{name}: replace ended with {ran.status}: {ran.output[-1500:]}")
            found += wrong(machine, {name: [issued]}, within=10)
        await_quiet(machine)
    return found


def by_inbox(stage: Stage) -> list[str]:
    """Put a candidate into the inbox of each: it is installed without a person, and removed from there."""
    found: list[str] = []
    stage.played = len(FILES)
    with stage.host("by-inbox") as machine:
        if machine.has_own_clock:
            machine.wait_for("chronyc tracking | grep -q 'Leap status.*Normal'", "the clock is synchronised")
        issued = {name: stage.state.ca.issue(machine) for name in FILES}
        for name, each in issued.items():
            drop(machine, name, each)
        machine.wait_for(
            "ls /var/lib/certvigil-inbox/*/new.pem 2>/dev/null && exit 1; exit 0", "the inboxes are empty", 300
        )
        found += wrong(machine, {name: [each] for name, each in issued.items()})
        await_quiet(machine)
    return found


def failing_reload(stage: Stage) -> list[str]:
    """Have a reload and a restart fail with the new files: the old set is on disk and served again."""
    found: list[str] = []
    stage.played = 2
    with stage.host("failing") as machine:
        old = _replaced(stage, machine, NGINX, found)
        drop_in(machine, NGINX, "ExecReload=", "ExecReload=/bin/false")
        found += _undone(stage, machine, NGINX, old)
        old = _replaced(stage, machine, LIGHTTPD, found)
        # It fails once: with the new files, and not when the old ones are back.
        once = "/bin/sh -c 'test ! -e /run/fail-once || { rm /run/fail-once; exit 1; }'"
        drop_in(machine, LIGHTTPD, f"ExecStartPre={once}", "Restart=no")
        machine.sh("touch /run/fail-once")
        found += _undone(stage, machine, LIGHTTPD, old)
    return found


def start_limit(stage: Stage) -> list[str]:
    """Have systemd refuse another start, since there were too many: undone, and the unit's failures are forgotten."""
    found: list[str] = []
    with stage.host("limit") as machine:
        drop_in(machine, LIGHTTPD, unit="StartLimitIntervalSec=1h\nStartLimitBurst=3\n")
        machine.sh("systemctl reset-failed lighttpd")
        old = None
        for number in range(6):
            issued = stage.state.ca.issue(machine)
            ran = replace(machine, LIGHTTPD, issued)
            if ran.status == 2:
                stage.played = number + 1
                assert old is not None
                found += wrong(machine, {LIGHTTPD: [old]})
                break
            if ran.status != 0:
                found.append(f"replace number {number} ended with {ran.status}: {ran.output[-1000:]}")
            old = issued
        else:
            found.append("six restarts within an hour were none too many for a limit of three")
        old = _replaced(stage, machine, LIGHTTPD, found)
        found += wrong(machine, {LIGHTTPD: [old]})
    return found


def slow_unit(stage: Stage) -> list[str]:
    """Have a unit take 40 s to start: it is waited for, and where its command has only 20 s, one set is live."""
    found: list[str] = []
    stage.played = 2
    with stage.host("slow") as machine:
        drop_in(machine, LIGHTTPD, "ExecStartPre=/bin/sleep 40")
        old = _replaced(stage, machine, LIGHTTPD, found)
        found += wrong(machine, {LIGHTTPD: [old]})
        section = json.loads(machine.read(CONFIG))
        section["components"][LIGHTTPD]["service"]["timeout"] = "20s"
        machine.put(CONFIG, json.dumps(section))
        take_up(machine)
        machine.sh("systemctl reload certvigil-actor certvigil")
        issued = stage.state.ca.issue(machine)
        ran = replace(machine, LIGHTTPD, issued)
        if ran.status not in {0, 2}:
            found.append(f"replace with 20 s ended with {ran.status}: {ran.output[-1500:]}")
        found += wrong(machine, {LIGHTTPD: [issued if ran.status == 0 else old]})
    return found


PHASES: Final = (
    *("begin", "backed_up", "staged", "intent", "switched", "config_tested", "command", "activated", "validated"),
    "committed",
)
_BACK: Final = ("rolling_back", "rolled_back")


def killed_actor(stage: Stage) -> list[str]:
    """Kill the actor after each record of a transaction; systemd starts it anew, and it ends what was begun."""
    found: list[str] = []
    with stage.host("killed") as machine:
        old = stage.state.ca.issue(machine)
        if replace(machine, NGINX, old).status != 0:
            return ["the first replacement failed"]
        stage.played = 0
        for event in (*PHASES, *_BACK):
            stage.played += 1
            if event == _BACK[0]:
                drop_in(machine, NGINX, "ExecReload=", "ExecReload=/bin/false")
            new = stage.state.ca.issue(machine)
            path = f"/root/{NGINX}-new.pem"
            machine.put(path, new.chain_pem() + new.key_pem(), 0o600)
            argv = [event, "certvigil", "replace", NGINX, "--from", path]
            ran = machine.run(["python3", "-", *argv], 600, _KILL)
            if ran.status != 0:
                found.append(f"the actor was not killed after {event}: {ran.output[-800:]}")
            machine.wait_for("systemctl is-active certvigil-actor", "the actor is back", 300)
            sets = [old] if event in _BACK else [old, new]
            said = wrong(machine, {NGINX: sets})
            found += [f"killed after {event}: {each}" for each in said]
            seen = look(machine, (NGINX,))
            old = new if seen.holds(NGINX, new) else old
            machine.sh("systemctl reset-failed certvigil-actor")
    return found


def _replaced(stage: Stage, machine: Host, name: str, found: list[str]) -> Issued:
    issued = stage.state.ca.issue(machine)
    ran = replace(machine, name, issued)
    if ran.status != 0:
        found.append(f"{name}: replace ended with {ran.status}: {ran.output[-1500:]}")
    return issued


def _undone(stage: Stage, machine: Host, name: str, old: Issued) -> list[str]:
    found: list[str] = []
    new = stage.state.ca.issue(machine)
    ran = replace(machine, name, new)
    if ran.status != 2:
        found.append(f"{name}: replace ended with {ran.status}, expected 2: {ran.output[-1500:]}")
    if "rolled_back" not in events(machine):
        found.append(f"{name}: the journal says {events(machine)}")
    return [*found, *wrong(machine, {name: [old]})]


def drop_in(machine: Host, name: str, *lines: str, unit: str = "") -> None:
    """Change Debian's unit by a drop-in, as an administrator does."""
    text = (f"[Unit]\n{unit}" if unit else "") + "[Service]\n" + "".join(f"{each}\n" for each in lines)
    machine.put(f"/etc/systemd/system/{name}.service.d/machine.conf", text)
    machine.sh("systemctl daemon-reload")
