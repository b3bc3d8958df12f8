"""A host with servers, below a directory that stands for its root: their configurations where Debian has them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from config.vocabulary import EndpointProtocol, ServerSoftware
from monitor.lab.ca import Authority
from monitor.lab.process import ServerProcess
from monitor.lab.servers import BackgroundServer, Lighttpd, Nginx, Site, replace_file, write_site
from tests.kit.packaged_servers import CATALINA, Dovecot, HAProxy, Postfix, PostgreSQL, Tomcat
from tests.kit.starttls_servers import EXIM, Exim, MariaDB, Prosody, Slapd, Vsftpd
from tests.kit.stunnel import Stunnel

S = ServerSoftware
NAME: Final = "mail.example.com"

PROGRAMS: Final[Mapping[ServerSoftware, str]] = {
    S.NGINX: "nginx",
    S.LIGHTTPD: "lighttpd",
    S.HAPROXY: "haproxy",
    S.STUNNEL: "stunnel4",
    S.APACHE: "apache2",
    S.POSTFIX: "postfix",
    S.DOVECOT: "dovecot",
    S.POSTGRESQL: "pg_ctlcluster",
    S.MARIADB: "mariadbd",
    S.SLAPD: "slapd",
    S.VSFTPD: "vsftpd",
    S.PROSODY: "prosody",
    S.EXIM: EXIM,
    S.TOMCAT: CATALINA,
}
"""The servers that a host may have."""
QUICK: Final = (S.NGINX, S.LIGHTTPD, S.HAPROXY, S.STUNNEL)
UNITS: Final[Mapping[ServerSoftware, str]] = {
    **{each: f"{each}.service" for each in PROGRAMS},
    S.APACHE: "apache2.service",
    S.POSTFIX: "postfix@-.service",
    S.POSTGRESQL: "postgresql@15-main.service",
    S.STUNNEL: "stunnel4.service",
    S.EXIM: "exim4.service",
    S.TOMCAT: "tomcat10.service",
}
_CONFIGURED: Final[Mapping[ServerSoftware, str]] = {
    S.NGINX: "etc/nginx/nginx.conf",
    S.LIGHTTPD: "etc/lighttpd/lighttpd.conf",
    S.HAPROXY: "etc/haproxy/haproxy.cfg",
    S.STUNNEL: "etc/stunnel/site.conf",
    S.APACHE: "etc/apache2/apache2.conf",
    S.POSTFIX: "etc/postfix/main.cf",
    S.DOVECOT: "etc/dovecot/dovecot.conf",
    S.POSTGRESQL: "etc/postgresql/15/main/postgresql.conf",
    S.MARIADB: "etc/mysql/my.cnf",
    S.SLAPD: "etc/ldap/slapd.conf",
    S.VSFTPD: "etc/vsftpd.conf",
    S.PROSODY: "etc/prosody/prosody.cfg.lua",
    S.EXIM: "etc/exim4/exim4.conf",
    S.TOMCAT: "var/lib/tomcat10/conf/server.xml",
}


class Apache(BackgroundServer):
    """apache2 with mod_ssl."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("apache2", "-DFOREGROUND", "-f", self.config_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests the configuration and the files it names."""
        return ("apache2", "-t", "-f", self.config_file)

    def _config(self) -> str:
        (site,) = self.sites
        modules = "".join(
            f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so\n"
            for each in ("mpm_event", "authz_core", "socache_shmcb", "ssl")
        )
        return f"""\
ServerRoot {os.path.dirname(self.config_file)}
{modules}ServerName localhost
PidFile {self.directory}/pid
Mutex file:{self.directory}
ErrorLog {self.log_file}
SSLSessionCache none
<IfModule mod_ssl.c>
    Listen {self.address} https
</IfModule>
<VirtualHost *:{self.port}>
    ServerName {NAME}
    SSLEngine on
    SSLCertificateFile {site.certificate}
    SSLCertificateKeyFile {site.key}
</VirtualHost>
"""

    def _activate(self, process: ServerProcess) -> None:
        process.signal(signal.SIGUSR1)


class _ConfiguredPostgreSQL(PostgreSQL):
    @property
    def _command(self) -> tuple[str, ...]:
        program = f"{self._programs}/postgres"
        return ("setpriv", *self._as_its_user, program, "-D", self.data, "-c", f"config_file={self.config_file}")

    def _config(self) -> str:
        return f"""\
data_directory = '{self.data}'
hba_file = '{self.data}/pg_hba.conf'
ident_file = '{self.data}/pg_ident.conf'
listen_addresses = '{self.host}'
port = {self.port}
unix_socket_directories = '{self.data}'
ssl = on
ssl_cert_file = '{self.sites[0].certificate}'
ssl_key_file = '{self.sites[0].key}'
"""


class _ConfiguredMariaDB(MariaDB):
    def start(self) -> None:
        data = os.path.join(self.directory, "data")
        os.makedirs(data)
        shutil.chown(data, self._USER)
        BackgroundServer.start(self)

    @property
    def _command(self) -> tuple[str, ...]:
        return ("mariadbd", f"--defaults-file={self.config_file}")

    def _config(self) -> str:
        data = os.path.join(self.directory, "data")
        return f"""\
[mysqld]
user = {self._USER}
datadir = {data}
socket = {data}/socket
pid-file = {data}/pid
bind-address = {self.host}
port = {self.port}
skip-grant-tables
skip-innodb
default-storage-engine = MyISAM
skip-name-resolve
ssl-cert = {self.sites[0].certificate}
ssl-key = {self.sites[0].key}
"""


_PLAIN: Final[Mapping[ServerSoftware, Callable[[str, Sequence[Site]], BackgroundServer]]] = {
    S.NGINX: Nginx,
    S.LIGHTTPD: Lighttpd,
    S.HAPROXY: HAProxy,
    S.STUNNEL: Stunnel,
    S.APACHE: Apache,
    S.DOVECOT: Dovecot,
    S.VSFTPD: Vsftpd,
    S.EXIM: Exim,
}
"""Servers that need nothing but their files."""


class ServerHost:
    """A root with servers; `start` them within an ExitStack."""

    def __init__(self, root: str, issuing: Authority) -> None:
        self.root = root
        self._issuing = issuing
        self.servers: dict[ServerSoftware, BackgroundServer] = {}
        os.makedirs(os.path.join(root, "run/systemd/system"), exist_ok=True)
        os.makedirs(os.path.join(root, "lib/systemd/system"), exist_ok=True)

    def start(self, software: Sequence[ServerSoftware], stack: ExitStack) -> None:
        """Lay out and start servers."""
        for each in software:
            self.servers[each] = server = self._server(each)
            os.makedirs(os.path.dirname(server.config_file), exist_ok=True)
            stack.enter_context(server)
            self.unit(UNITS[each].replace("@-.", "@.").replace("@15-main.", "@."))

    def unit(self, name: str) -> str:
        """Write a unit of the system, and return its path."""
        path = os.path.join(self.root, "lib/systemd/system", name)
        replace_file(path, b"[Service]\nExecStart=/bin/true\n")
        return path

    def _site(self, software: ServerSoftware) -> Site:
        directory = os.path.join(self.root, "etc/ssl", software)
        issued = self._issuing.issue(NAME)
        if software is S.HAPROXY:
            os.makedirs(directory)
            path = os.path.join(directory, "site.pem")
            replace_file(path, issued.chain_pem() + issued.key_pem(), 0o600)
            return Site(path, path)
        return write_site(directory, issued)

    def _server(self, software: ServerSoftware) -> BackgroundServer:
        site, directory = self._site(software), os.path.join(self.root, "var", software)
        server: BackgroundServer
        match software:
            case _ if software in _PLAIN:
                server = _PLAIN[software](directory, [site])
            case S.POSTFIX:
                server = Postfix(os.path.join(self.root, "etc/postfix"), [site])
                server.begins_with_tls = False
            case S.POSTGRESQL:
                # Its user reads the key, and root alone may change it.
                shutil.chown(site.key, group="postgres")
                os.chmod(site.key, 0o640)
                server = _ConfiguredPostgreSQL(directory, [site])
            case S.MARIADB:
                shutil.chown(site.key, group="mysql")
                os.chmod(site.key, 0o640)
                server = _ConfiguredMariaDB(directory, [site])
            case S.SLAPD:
                server = Slapd(directory, [site])
                default = os.path.join(self.root, "etc/default/slapd")
                os.makedirs(os.path.dirname(default))
                replace_file(default, f'SLAPD_SERVICES="ldap://{server.address}/ ldapi:///"\n'.encode())
            case S.TOMCAT:
                base = os.path.join(self.root, "var/lib/tomcat10")
                server = Tomcat(base, [site])
                # As Debian has it.
                os.makedirs(os.path.join(self.root, "etc/tomcat10"))
                os.makedirs(base)
                os.symlink("../../../etc/tomcat10", os.path.join(base, "conf"))
            case _:
                server = Prosody(directory, site, EndpointProtocol.XMPP)
        server.config_file = os.path.join(self.root, _CONFIGURED[software])
        return server
