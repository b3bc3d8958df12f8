"""The servers whose configuration is read, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from config.vocabulary import ServerSoftware
from probes.server_config import (
    apache,
    dovecot,
    exim,
    haproxy,
    lighttpd,
    mariadb,
    nginx,
    postfix,
    postgresql,
    prosody,
    slapd,
    stunnel,
    tomcat,
    vsftpd,
)
from probes.server_config.files import HostFiles
from probes.server_config.terms import ServerReading

READERS: Final[Mapping[ServerSoftware, Callable[[HostFiles], ServerReading]]] = MappingProxyType(
    {
        ServerSoftware.NGINX: nginx.read,
        ServerSoftware.APACHE: apache.read,
        ServerSoftware.LIGHTTPD: lighttpd.read,
        ServerSoftware.HAPROXY: haproxy.read,
        ServerSoftware.POSTFIX: postfix.read,
        ServerSoftware.EXIM: exim.read,
        ServerSoftware.DOVECOT: dovecot.read,
        ServerSoftware.POSTGRESQL: postgresql.read,
        ServerSoftware.MARIADB: mariadb.read,
        ServerSoftware.SLAPD: slapd.read,
        ServerSoftware.STUNNEL: stunnel.read,
        ServerSoftware.VSFTPD: vsftpd.read,
        ServerSoftware.PROSODY: prosody.read,
        ServerSoftware.TOMCAT: tomcat.read,
    }
)
"""Each reads all of one server's configuration; none raises for what it says."""
