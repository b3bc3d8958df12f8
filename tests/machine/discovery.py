"""Scenarios of what stands on a host already: `certvigil discover` on Debian's servers, ports that nobody declared."""

from __future__ import annotations

import json
import time
from typing import Final

import yaml

from monitor.lab.ca import Issued
from tests.machine.host import Host
from tests.machine.house import CONFIG, NAME, take_up
from tests.machine.replace import bring
from tests.machine.scenario import Stage

PORTS: Final = {
    "nginx": (443, ""),
    "lighttpd": (8443, ""),
    "apache": (10443, ""),
    "haproxy": (11443, ""),
    "postfix": (25, "smtp"),
    "dovecot": (993, ""),
}
"""Where each server serves TLS, and the protocol whose STARTTLS comes before it."""
_UNITS: Final = ("nginx", "lighttpd", "apache2", "haproxy", "postfix", "dovecot")
_CONFIGURED: Final = "/etc/nginx /etc/lighttpd /etc/apache2 /etc/haproxy /etc/postfix /etc/dovecot /etc/default"

_APACHE: Final = f"""\
Listen 127.0.0.1:10443
<VirtualHost 127.0.0.1:10443>
    ServerName {NAME}
    SSLEngine on
    SSLCertificateFile /etc/apache2/tls/site.crt
    SSLCertificateKeyFile /etc/apache2/tls/site.key
</VirtualHost>
"""
_HAPROXY: Final = """
frontend tls
    bind 127.0.0.1:11443 ssl crt /etc/haproxy/tls/site.pem
    http-request return status 200
"""
_DOVECOT: Final = """\
ssl = yes
ssl_cert = </etc/dovecot/tls/site.crt
ssl_key = </etc/dovecot/tls/site.key
"""
_POSTFIX: Final = (
    "inet_interfaces=loopback-only inet_protocols=ipv4 smtpd_tls_security_level=may"
    " smtpd_tls_cert_file=/etc/postfix/tls/site.crt smtpd_tls_key_file=/etc/postfix/tls/site.key"
)


def furnish(machine: Host, issued: Issued) -> None:
    """Give the other servers a certificate, each in its own configuration, and start them."""
    machine.put("/etc/apache2/ports.conf", "Listen 8082\n")
    machine.put("/etc/apache2/sites-enabled/tls.conf", _APACHE)
    machine.put("/etc/dovecot/conf.d/99-tls.conf", _DOVECOT)
    machine.put("/root/haproxy", _HAPROXY)
    machine.sh("cat /root/haproxy >>/etc/haproxy/haproxy.cfg && rm /root/haproxy")
    for name in ("apache2", "dovecot", "postfix"):
        machine.put(f"/etc/{name}/tls/site.crt", issued.chain_pem())
        machine.put(f"/etc/{name}/tls/site.key", issued.key_pem(), 0o600)
    machine.put("/etc/haproxy/tls/site.pem", issued.chain_pem() + issued.key_pem(), 0o600)
    machine.sh("a2enmod -q ssl")
    machine.sh("test -e /etc/postfix/main.cf || cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf")
    machine.sh(f"postconf -e {_POSTFIX}")
    machine.sh(f"systemctl restart {' '.join(_UNITS)}")
    machine.wait_for(f"systemctl is-active {' '.join(_UNITS)} postfix@-", "all servers run")


def discover(stage: Stage) -> list[str]:
    """Have `discover` write a configuration of six of Debian's servers; by it each is replaced under its own unit."""
    found: list[str] = []
    with stage.host("discover") as machine:
        old = stage.state.ca.issue(machine)
        machine.sh("systemctl stop certvigil certvigil-actor")
        furnish(machine, old)
        before = _hashes(machine)
        machine.sh(f"rm {CONFIG}")
        machine.run(["certvigil", "discover"], 600)
        written = machine.run(["certvigil", "discover", "--out", CONFIG], 600)
        if written.status != 0:
            found.append(f"discover --out ended with {written.status}: {written.output[-1500:]}")
        more = {
            "trust_stores": {"own": {"bundle": "/etc/certvigil/root.pem"}},
            "clients": {"default": {"trusts": "own"}},
            "actor": {"require_synchronised_clock": machine.has_own_clock},
        }
        machine.put("/etc/certvigil/own.yaml", json.dumps(more))
        for command in (["certvigil", "config", "check"],):
            ran = machine.run(command)
            if ran.status != 0:
                found.append(f"`{' '.join(command)}` ended with {ran.status}: {ran.output[-1500:]}")
        take_up(machine)
        machine.sh("systemctl restart certvigil-actor certvigil")
        machine.wait_for("certvigil status --healthy", "the daemon is healthy")
        ran = machine.run(["certvigil", "doctor"])
        if ran.status != 0:
            found.append(f"doctor ended with {ran.status}: {ran.output[-2500:]}")
        components = list(yaml.safe_load(machine.sh("certvigil config show"))["components"])
        stage.played = 0
        for name, (port, starttls) in PORTS.items():
            stage.played += 1
            if name not in components:
                found.append(
                    f"{name} is no component of {components}: {written.output[-3000:]}\n{machine.read(CONFIG)}"
                )
                continue
            new = stage.state.ca.issue(machine)
            path = bring(machine, new)
            ran = machine.run(["certvigil", "replace", name, "--from", path], 600)
            if ran.status != 0:
                found.append(f"{name}: replace ended with {ran.status}: {ran.output[-1500:]}")
            if (served := _served(machine, port, starttls)) != _serial(new):
                found.append(f"{name} serves {served}, expected {_serial(new)}")
        after = _hashes(machine)
        changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        if changed:
            found.append(f"the servers' own files were changed: {', '.join(changed)}")
        failed = machine.sh("systemctl list-units --failed --plain --no-legend").strip()
        if failed:
            found.append(f"units have failed: {failed}")
    return found


def _undeclared(machine: Host) -> list[str]:
    """Return the ports that are told."""
    targets = machine.run(["certvigil", "status", "--json"]).json["targets"]
    return [
        found["subject"] for each in targets for found in each["findings"] if found["code"] == "undeclared_endpoint"
    ]


def _hashes(machine: Host) -> dict[str, str]:
    """Return the hash of every file of the servers' configuration, but for certificates and keys."""
    lines = machine.sh(f"find {_CONFIGURED} -type f ! -path '*/tls/*' -exec sha256sum {{}} +").splitlines()
    return {path: data for data, _, path in (each.partition("  ") for each in lines)}


def _served(machine: Host, port: int, starttls: str) -> str:
    more = f"-starttls {starttls}" if starttls else ""
    script = (
        f"openssl s_client -connect 127.0.0.1:{port} -servername {NAME} {more} </dev/null 2>/dev/null"
        " | openssl x509 -noout -serial"
    )
    return machine.run(["/bin/bash", "-c", script]).output.strip()


def _serial(issued: Issued) -> str:
    text = f"{issued.certificate.serial_number:X}"
    return f"serial={text if len(text) % 2 == 0 else '0' + text}"


def undeclared(stage: Stage) -> list[str]:
    """Open new ports: each is told; that of another namespace, or of a user's unit, is reported and not written."""
    found: list[str] = []
    with stage.host("undeclared") as machine:
        issued = stage.state.ca.issue(machine)
        machine.put("/srv/tls/it.crt", issued.chain_pem())
        machine.put("/srv/tls/it.key", issued.key_pem(), 0o644)
        section = json.loads(machine.read(CONFIG))
        machine.put(CONFIG, json.dumps({**section, "undeclared": {"every": "10s"}}))
        machine.sh("certvigil reload")
        serve = "openssl s_server -quiet -cert /srv/tls/it.crt -key /srv/tls/it.key -accept 127.0.0.1"
        machine.sh(f"systemd-run --unit=plain {serve}:12443")
        machine.sh(f"systemd-run --unit=elsewhere unshare --mount --pid --fork --mount-proc {serve}:12444")
        machine.sh("useradd --create-home alice")
        units = "/home/alice/.config/systemd/user"
        machine.put(f"{units}/hers.service", f"[Service]\nExecStart=/usr/bin/{serve}:12445\n")
        machine.sh(f"mkdir {units}/default.target.wants && ln -s ../hers.service {units}/default.target.wants/")
        machine.sh("chown -R alice: /home/alice && loginctl enable-linger alice")
        for port in (12443, 12444, 12445):
            deadline = time.monotonic() + 120
            while not any(str(port) in subject for subject in _undeclared(machine)):
                if time.monotonic() > deadline:
                    found.append(f"the port {port} is not told: {_undeclared(machine)}")
                    break
                time.sleep(1)
        ran = machine.run(["certvigil", "discover", "--out", "/root/found.yaml"], 600)
        text = machine.read("/root/found.yaml")
        if ran.status != 0:
            found.append(f"discover ended with {ran.status}: {ran.output[-1000:]}")
        written = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for port, word in ((12444, "namespace"), (12445, "user")):
            if any(str(port) in line for line in written):
                found.append(f"the port {port} was written: {text}")
            if not any(str(port) in line and word in line for line in (text + ran.output).splitlines()):
                found.append(f"the port {port} is not reported with the word {word}: {text}\n{ran.output}")
        if not any("12443" in line for line in written):
            found.append(f"the port 12443 of a unit of the system was not written: {text}")
    return found
