"""How each server is tested and put onto new files: a table of our own, and the units that the system has.

No command comes from a file that was read. A unit counts where root alone can change its files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from config.immutable import immutable
from config.service import Activation
from config.text import Printable, printable, sentence
from config.vocabulary import ServerSoftware
from probes.server_config.files import HostFiles

_UNIT_DIRECTORIES: Final = (
    *("/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system"),
    *("/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late"),
)
"""In the order of systemd.unit(5); the first that has a unit counts."""


@immutable
class HowToServe:
    """How the new files of one kind of server are tested and taken up."""

    units: tuple[str, ...]
    """Names that distributions give its unit, the likeliest first."""
    activate: Activation
    tests: tuple[tuple[str, ...], ...] = ()
    """Commands that test its configuration; the first whose program is there counts."""
    writes: tuple[str, ...] = ()
    """Directories to which such a test writes."""
    programs: frozenset[str] = frozenset()
    """Names of its processes, as the kernel shows them."""


SERVES: Final[Mapping[ServerSoftware, HowToServe]] = MappingProxyType(
    {
        ServerSoftware.NGINX: HowToServe(
            ("nginx.service",),
            Activation.RELOAD,
            (("/usr/sbin/nginx", "-t"),),
            ("/var/log/nginx", "/run"),
            frozenset({"nginx"}),
        ),
        ServerSoftware.APACHE: HowToServe(
            ("apache2.service", "httpd.service"),
            Activation.RELOAD,
            (("/usr/sbin/apachectl", "configtest"), ("/usr/sbin/apache2ctl", "configtest")),
            ("/var/log/apache2", "/var/log/httpd", "/run"),
            frozenset({"apache2", "httpd"}),
        ),
        # A reload of lighttpd's unit starts it anew in its own process, and a failure leaves it dead.
        ServerSoftware.LIGHTTPD: HowToServe(
            ("lighttpd.service",),
            Activation.RESTART,
            (("/usr/sbin/lighttpd", "-tt", "-f", "/etc/lighttpd/lighttpd.conf"),),
            programs=frozenset({"lighttpd"}),
        ),
        ServerSoftware.HAPROXY: HowToServe(
            ("haproxy.service",),
            Activation.RELOAD,
            (("/usr/sbin/haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"),),
            programs=frozenset({"haproxy"}),
        ),
        ServerSoftware.POSTFIX: HowToServe(
            ("postfix@-.service", "postfix.service"),
            Activation.RELOAD,
            (("/usr/sbin/postfix", "check"),),
            ("/var/spool/postfix", "/var/lib/postfix"),
            frozenset({"master", "smtpd"}),
        ),
        ServerSoftware.EXIM: HowToServe(
            ("exim4.service", "exim.service"),
            Activation.RESTART,
            (("/usr/sbin/exim4", "-bV"), ("/usr/sbin/exim", "-bV")),
            ("/var/log/exim4", "/var/spool/exim4", "/var/lib/exim4"),
            frozenset({"exim4", "exim"}),
        ),
        ServerSoftware.DOVECOT: HowToServe(
            ("dovecot.service",),
            Activation.RELOAD,
            (("/usr/bin/doveconf", "-n"),),
            programs=frozenset({"dovecot", "imap-login", "pop3-login"}),
        ),
        ServerSoftware.POSTGRESQL: HowToServe(
            ("postgresql@{cluster}.service", "postgresql.service"),
            Activation.RELOAD,
            programs=frozenset({"postgres"}),
        ),
        ServerSoftware.MARIADB: HowToServe(
            ("mariadb.service", "mysql.service", "mysqld.service"),
            Activation.RESTART,
            programs=frozenset({"mariadbd", "mysqld"}),
        ),
        ServerSoftware.SLAPD: HowToServe(
            ("slapd.service",),
            Activation.RESTART,
            (("/usr/sbin/slaptest", "-u"),),
            programs=frozenset({"slapd"}),
        ),
        ServerSoftware.STUNNEL: HowToServe(
            ("stunnel4.service", "stunnel@{name}.service", "stunnel.service"),
            Activation.RESTART,
            programs=frozenset({"stunnel4", "stunnel"}),
        ),
        ServerSoftware.VSFTPD: HowToServe(("vsftpd.service",), Activation.RESTART, programs=frozenset({"vsftpd"})),
        ServerSoftware.PROSODY: HowToServe(
            ("prosody.service",),
            Activation.RESTART,
            programs=frozenset({"prosody", "lua5.4", "lua5.3", "lua5.2"}),
        ),
        ServerSoftware.TOMCAT: HowToServe(
            ("tomcat10.service", "tomcat9.service", "tomcat.service"),
            Activation.RESTART,
            programs=frozenset({"java"}),
        ),
    }
)


@immutable
class FoundUnit:
    """A unit of the system, or why there is none that may be written into a configuration."""

    name: str | None
    why: Printable = Printable("")


def find_unit(files: HostFiles, software: ServerSoftware, told: str | None, main: str = "") -> FoundUnit:
    """Return the unit of a server: that which the kernel told, or else the first of the table that the system has.

    `main` is the configuration file with which the server begins, from which instances of a template are named.
    """
    words = {"cluster": _cluster(main), "name": os.path.basename(main).rpartition(".")[0]}
    names = [each.format(**words) for each in SERVES[software].units]
    if told is not None:
        templates = {each.partition("@")[0] for each in SERVES[software].units}
        if told.removesuffix(".service").partition("@")[0] not in {each.removesuffix(".service") for each in templates}:
            shown = printable(told, 200)
            why = sentence("its process runs in the unit {}, which is none that is known for {}", shown, software)
            return FoundUnit(None, why)
        names = [told]
    for name in names:
        fragments = _fragments(files, name)
        if not fragments:
            continue
        for each in fragments:
            if (doubt := files.doubt(each)) is not None:
                return FoundUnit(None, sentence("others than root can change {}: {}", printable(each, 500), doubt))
        return FoundUnit(name)
    if told is not None:
        return FoundUnit(None, sentence("the system has no file of the unit {}", printable(told, 200)))
    return FoundUnit(None, Printable("the system has no unit for it"))


def _cluster(main: str) -> str:
    """Return the name that Debian gives to the instance of a cluster, by its configuration file."""
    version, cluster = main.split("/")[-3:-1] if main.count("/") >= 3 else ("", "")
    return f"{version}-{cluster}"


def _fragments(files: HostFiles, unit: str) -> list[str]:
    """Return the file of a unit and its drop-ins; empty where the system has none."""
    template = f"{unit.partition('@')[0]}@.service" if "@" in unit else unit
    found: list[str] = []
    for name in dict.fromkeys((unit, template)):
        for directory in map(files.located, _UNIT_DIRECTORIES):
            path = os.path.join(directory, name)
            if not found and files.exists(path):
                found.append(path)
    drop_ins = [
        each
        for name in dict.fromkeys((unit, template))
        for directory in map(files.located, _UNIT_DIRECTORIES)
        if files.is_directory(os.path.join(directory, f"{name}.d"))
        for each in files.names(os.path.join(directory, f"{name}.d"))
        if each.endswith(".conf")
    ]
    return [*found, *drop_ins] if found else []


def find_test(files: HostFiles, software: ServerSoftware) -> tuple[str, ...] | None:
    """Return the command that tests the configuration of a server, where its program is here and root's alone."""
    for command in SERVES[software].tests:
        program = command[0]
        if os.path.exists(program) and files.doubt(program) is None:
            return command
    return None
