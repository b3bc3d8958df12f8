"""Servers from Debian's packages that begin in the clear, for looks at them: each is started by root.

A server with several protocols is started for one of them.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import ClassVar, Final

from config.vocabulary import EndpointProtocol
from monitor.lab.process import ServerProcess, find_command
from monitor.lab.servers import BackgroundServer, Site
from tests.kit.packaged_servers import Dovecot, Postfix, PostgreSQL

DOMAIN: Final = "mail.example.com"
"""Which each of them is, or serves."""
EXIM: Final = find_command("exim4") or str(Path(__file__).parents[2] / ".unpacked/usr/sbin/exim4")


class _Looked(BackgroundServer):
    """A server that is looked at, and never reloaded."""

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests nothing."""
        return ("true",)

    def _activate(self, process: ServerProcess) -> None:
        process.signal(signal.SIGHUP)


class DovecotInClear(Dovecot):
    """dovecot, for one of its protocols with STARTTLS."""

    _SERVICE: ClassVar = {
        EndpointProtocol.IMAP: ("imap-login", "imap"),
        EndpointProtocol.POP3: ("pop3-login", "pop3"),
        EndpointProtocol.SIEVE: ("managesieve-login", "sieve"),
        EndpointProtocol.LMTP: ("lmtp", "lmtp"),
    }

    def __init__(self, directory: str, site: Site, protocol: EndpointProtocol) -> None:
        super().__init__(directory, [site])
        self._protocol = protocol

    @property
    def _serves(self) -> tuple[str, str, str]:
        service, listener = self._SERVICE[self._protocol]
        # The port of a protocol within TLS is open otherwise, and may be another server's.
        closed = "  inet_listener imaps {\n    port = 0\n  }\n" if listener == "imap" else ""
        opened = f"  inet_listener {listener} {{\n    address = {self.host}\n    port = {self.port}\n  }}\n"
        return listener, "yes", f"service {service} {{\n{closed}{opened}}}\n"


class Vsftpd(_Looked):
    """vsftpd, for FTP."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("vsftpd", self.config_file)

    def _config(self) -> str:
        return f"""\
listen=YES
listen_address={self.host}
listen_port={self.port}
background=NO
anonymous_enable=YES
secure_chroot_dir={self.directory}
nopriv_user=nobody
ssl_enable=YES
rsa_cert_file={self.sites[0].certificate}
rsa_private_key_file={self.sites[0].key}
"""


class Exim(_Looked):
    """exim4, for SMTP: its package excludes Postfix, so that `tests/kit/install` unpacks it into a directory."""

    _USER: Final = "Debian-exim"

    @property
    def _command(self) -> tuple[str, ...]:
        return (EXIM, "-bdf", "-C", self.config_file)

    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""
        spool = os.path.join(self.directory, "spool")
        os.makedirs(spool)
        shutil.chown(spool, self._USER)
        # Whose user reads the key when it has given up root's rights.
        shutil.chown(self.sites[0].key, group=self._USER)
        os.chmod(self.sites[0].key, 0o640)
        super().start()

    def _config(self) -> str:
        spool = os.path.join(self.directory, "spool")
        return f"""\
primary_hostname = {DOMAIN}
spool_directory = {spool}
log_file_path = {spool}/%slog
pid_file_path = {spool}/pid
keep_environment =
local_interfaces = {self.host}
daemon_smtp_ports = {self.port}
tls_advertise_hosts = *
tls_certificate = {self.sites[0].certificate}
tls_privatekey = {self.sites[0].key}
"""


class Slapd(_Looked):
    """slapd, for LDAP."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("slapd", "-d", "0", "-f", self.config_file, "-h", f"ldap://{self.address}/")

    def _config(self) -> str:
        return f"""\
pidfile {self.directory}/pid
TLSCertificateFile {self.sites[0].certificate}
TLSCertificateKeyFile {self.sites[0].key}
"""


class MariaDB(_Looked):
    """mariadbd without any table."""

    _USER: Final = "mysql"

    @property
    def _command(self) -> tuple[str, ...]:
        data = os.path.join(self.directory, "data")
        return (
            *("mariadbd", "--no-defaults", f"--user={self._USER}", f"--datadir={data}"),
            *(
                f"--socket={data}/socket",
                f"--pid-file={data}/pid",
                f"--bind-address={self.host}",
                f"--port={self.port}",
            ),
            *("--skip-grant-tables", "--skip-innodb", "--default-storage-engine=MyISAM", "--skip-name-resolve"),
            *(f"--ssl-cert={self.sites[0].certificate}", f"--ssl-key={self.sites[0].key}"),
        )

    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""
        data = os.path.join(self.directory, "data")
        os.makedirs(data)
        shutil.chown(data, self._USER)
        shutil.chown(self.sites[0].key, self._USER)
        super().start()

    def _config(self) -> str:
        return ""


class Prosody(_Looked):
    """prosody, for XMPP of clients or of servers."""

    def __init__(self, directory: str, site: Site, protocol: EndpointProtocol) -> None:
        super().__init__(directory, [site])
        self._of_servers = protocol is EndpointProtocol.XMPP_SERVER
        # The ending names the format.
        self.config_file += ".lua"

    @property
    def _command(self) -> tuple[str, ...]:
        return ("prosody", "--config", self.config_file, "-F")

    def _config(self) -> str:
        used, unused = ("s2s", "c2s") if self._of_servers else ("c2s", "s2s")
        return f"""\
run_as_root = true
daemonize = false
pidfile = "{self.directory}/pid"
data_path = "{self.directory}"
log = "{self.log_file}"
interfaces = {{ "{self.host}" }}
{used}_ports = {{ {self.port} }}
modules_enabled = {{ "tls", "saslauth", "dialback" }}
modules_disabled = {{ "{unused}" }}
s2s_secure_auth = false
VirtualHost "{DOMAIN}"
    ssl = {{ certificate = "{self.sites[0].certificate}", key = "{self.sites[0].key}" }}
"""


class InspIRCd(_Looked):
    """inspircd, for IRC."""

    @property
    def _command(self) -> tuple[str, ...]:
        # It crashes when it is ended, and would leave a core file where the tests run.
        return ("prlimit", "--core=0", "inspircd", "--nofork", "--runasroot", "--config", self.config_file)

    def _config(self) -> str:
        (site,) = self.sites
        return f"""\
<server name="irc.example.com" description="it" network="it">
<admin name="it" nick="it" email="it@example.com">
<path configdir="{self.directory}" datadir="{self.directory}" logdir="{self.directory}" runtimedir="{self.directory}"
    moduledir="/usr/lib/inspircd/modules">
<pid file="{self.directory}/pid">
<bind address="{self.host}" port="{self.port}" type="clients">
<connect name="all" allow="*" resolvehostnames="no" useident="no">
<module name="ssl_gnutls">
<sslprofile name="it" provider="gnutls" certfile="{site.certificate}" keyfile="{site.key}">
<module name="starttls">
<starttls sslprofile="it">
"""


class Xrdp(_Looked):
    """xrdp, for RDP."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("xrdp", "-n", "-c", self.config_file)

    def _config(self) -> str:
        return f"""\
[Globals]
port=tcp://{self.address}
security_layer=tls
certificate={self.sites[0].certificate}
key_file={self.sites[0].key}
[Logging]
LogFile={self.log_file}
"""


def server_of(protocol: EndpointProtocol, directory: str, site: Site) -> BackgroundServer:
    """Return a server, not started yet, that speaks `protocol`; its program's package is in `tests/kit/install`."""
    match protocol:
        case EndpointProtocol.SMTP:
            server = Postfix(directory, [site])
            server.begins_with_tls = False
            return server
        case EndpointProtocol.POSTGRES:
            shutil.chown(site.key, "postgres")
            return PostgreSQL(directory, [site])
        case EndpointProtocol.FTP:
            return Vsftpd(directory, [site])
        case EndpointProtocol.LDAP:
            return Slapd(directory, [site])
        case EndpointProtocol.MYSQL:
            return MariaDB(directory, [site])
        case EndpointProtocol.IRC:
            return InspIRCd(directory, [site])
        case EndpointProtocol.RDP:
            return Xrdp(directory, [site])
        case EndpointProtocol.XMPP | EndpointProtocol.XMPP_SERVER:
            return Prosody(directory, site, protocol)
        case _:
            return DovecotInClear(directory, site, protocol)
