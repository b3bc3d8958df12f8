"""More servers from Debian's packages, each with its configuration and state in a directory of its own.

They are started by root and give up its rights as their packages have them do, so that their keys may be 0600.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from glob import glob
from typing import Final

from monitor.lab.process import LabError, ServerProcess, accepts, find_command
from monitor.lab.servers import BackgroundServer, replace_file


class HAProxy(BackgroundServer):
    """haproxy, master and worker; each site is one combined PEM, the key and the certificate of which are one file."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("haproxy", "-W", "-db", "-f", self.config_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests the configuration and the files it names."""
        return ("haproxy", "-c", "-f", self.config_file)

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is; needs it to run."""
        test = [find_command("haproxy"), *self.test_command[1:]]
        reload = ["/bin/kill", "-USR2", str(self.pid)]
        return {"test": test, "activate": "reload", "reload": reload, "restart": reload}

    def _config(self) -> str:
        certificates = " ".join(f"crt {site.certificate}" for site in self.sites)
        return f"""\
global
    hard-stop-after 1s
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend tls
    bind {self.address} ssl {certificates}
    http-request return status 200
"""

    def _activate(self, process: ServerProcess) -> None:
        before = self._workers()
        process.signal(signal.SIGUSR2)
        process.wait_until(lambda: (now := self._workers()) and not now & before, "a new worker")

    def _workers(self) -> frozenset[str]:
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return frozenset(file.read().split())


class Dovecot(BackgroundServer):
    """dovecot, for IMAP over TLS."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("dovecot", "-F", "-c", self.config_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests the configuration and the files it names."""
        return ("doveconf", "-c", self.config_file)

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is; needs it to run."""
        reload = ["/bin/kill", "-HUP", str(self.pid)]
        return {"activate": "reload", "reload": reload, "restart": reload}

    @property
    def _serves(self) -> tuple[str, str, str]:
        """The protocols, whether TLS is required, and the sections of the services."""
        return (
            "imap",
            "required",
            f"""\
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    address = {self.host}
    port = {self.port}
    ssl = yes
  }}
}}
""",
        )

    def _config(self) -> str:
        (site,) = self.sites
        protocols, ssl, services = self._serves
        return f"""\
base_dir = {self.directory}/run
state_dir = {self.directory}/state
log_path = {self.log_file}
protocols = {protocols}
ssl = {ssl}
ssl_cert = <{site.certificate}
ssl_key = <{site.key}
default_login_user = dovenull
default_internal_user = dovecot
{services}passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
"""

    def _activate(self, process: ServerProcess) -> None:
        process.signal(signal.SIGHUP)


class Postfix(BackgroundServer):
    """postfix, for SMTP over TLS, or with STARTTLS."""

    begins_with_tls = True

    @property
    def _command(self) -> tuple[str, ...]:
        return ("/usr/lib/postfix/sbin/master", "-c", self.directory, "-d")

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests the configuration and the files it names."""
        return ("postfix", "-c", self.directory, "check")

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is; needs it to run."""
        reload = ["/bin/kill", "-HUP", str(self.pid)]
        return {"activate": "reload", "reload": reload, "restart": reload}

    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""
        spool, data = os.path.join(self.directory, "spool"), os.path.join(self.directory, "data")
        os.makedirs(data, exist_ok=True)
        os.makedirs(spool, exist_ok=True)
        try:
            owner = pwd.getpwnam("postfix").pw_uid
        except KeyError:
            raise LabError("postfix is not installed") from None
        os.chown(data, owner, -1)
        replace_file(os.path.join(self.directory, "main.cf"), self._main(spool, data).encode())
        replace_file(os.path.join(self.directory, "master.cf"), self._config().encode())
        replace_file(self.log_file, b"")
        ran = subprocess.run(
            ["/usr/sbin/postfix", "-c", self.directory, "check"], capture_output=True, check=False, timeout=60
        )
        if ran.returncode:
            raise LabError(ran.stderr.decode(errors="replace"))
        self.process = process = ServerProcess(self._command, self.log_file)
        process.wait_until(lambda: accepts(self.host, self.port), f"listening on {self.address}")

    def _main(self, spool: str, data: str) -> str:
        (site,) = self.sites
        return f"""\
compatibility_level = 3.6
queue_directory = {spool}
data_directory = {data}
maillog_file = {self.log_file}
maillog_file_prefixes = /
myhostname = mail.example.com
inet_protocols = ipv4
smtpd_tls_chain_files = {site.key}, {site.certificate}
smtpd_tls_security_level = encrypt
local_recipient_maps =
alias_maps =
"""

    def _config(self) -> str:
        return f"""\
{self.address} inet n - n - 5 smtpd
    -o smtpd_tls_wrappermode={"yes" if self.begins_with_tls else "no"}
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
postlog unix-dgram n - n - 1 postlogd
"""

    def _activate(self, process: ServerProcess) -> None:
        # Each smtpd reads the files when it begins; those that wait end at a reload.
        process.signal(signal.SIGHUP)


class PostgreSQL(BackgroundServer):
    """PostgreSQL, which speaks TLS only after a word of its own protocol; its key must be its user's or root's."""

    _USER: Final = "postgres"

    @property
    def _programs(self) -> str:
        found = sorted(glob("/usr/lib/postgresql/*/bin"))
        if not found:
            raise LabError("postgresql is not installed")
        return found[-1]

    @property
    def data(self) -> str:
        """The directory of the cluster."""
        return os.path.join(self.directory, "data")

    @property
    def _command(self) -> tuple[str, ...]:
        options = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": self.data,
            "ssl": "on",
            "ssl_cert_file": self.sites[0].certificate,
            "ssl_key_file": self.sites[0].key,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return ("setpriv", *self._as_its_user, f"{self._programs}/postgres", "-D", self.data, *words)

    @property
    def _as_its_user(self) -> tuple[str, ...]:
        return ("--reuid", self._USER, "--regid", self._USER, "--init-groups")

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests nothing: there is none."""
        return ("true",)

    @property
    def service(self) -> Mapping[str, object]:
        """The section `service` of a component that this server is; needs it to run."""
        reload = ["/bin/kill", "-HUP", str(self.pid)]
        return {"activate": "reload", "reload": reload, "restart": reload}

    def _config(self) -> str:
        return ""

    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""
        if not os.path.exists(self.data):
            os.makedirs(self.data)
            shutil.chown(self.data, self._USER, self._USER)
            os.chmod(self.data, 0o700)
            subprocess.run(
                [
                    "setpriv",
                    *self._as_its_user,
                    f"{self._programs}/initdb",
                    "-D",
                    self.data,
                    "--no-sync",
                    "-A",
                    "trust",
                ],
                cwd=self.data,
                check=True,
                capture_output=True,
                timeout=120,
            )
        super().start()

    def _activate(self, process: ServerProcess) -> None:
        process.signal(signal.SIGHUP)


_JAVA: Final = """
import com.sun.net.httpserver.*;
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.security.*;
import javax.net.ssl.*;

public class Server {
    public static void main(String[] words) throws Exception {
        char[] password = Files.readString(Path.of(words[3])).strip().toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream file = new FileInputStream(words[2])) { store.load(file, password); }
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, password);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        HttpsServer server = HttpsServer.create(new InetSocketAddress(words[0], Integer.parseInt(words[1])), 64);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        server.createContext("/", exchange -> { exchange.sendResponseHeaders(204, -1); exchange.close(); });
        server.start();
    }
}
"""


class JavaServer(BackgroundServer):
    """A server in Java, which reads its keystore when it starts."""

    password_file = ""

    @property
    def _command(self) -> tuple[str, ...]:
        keystore = self.sites[0].certificate
        return ("java", self.config_file, self.host, str(self.port), keystore, self.password_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests nothing: there is none."""
        return ("true",)

    def _config(self) -> str:
        return _JAVA

    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""
        self.config_file = os.path.join(self.directory, "Server.java")
        os.makedirs(self.directory, exist_ok=True)
        replace_file(self.config_file, self._config().encode())
        replace_file(self.log_file, b"")
        self.process = process = ServerProcess(self._command, self.log_file)
        process.wait_until(lambda: accepts(self.host, self.port), f"listening on {self.address}", deadline=60)

    def _activate(self, process: ServerProcess) -> None:
        process.stop()
        self.start()


_TOMCAT: Final = "/usr/share/tomcat10"
CATALINA: Final = f"{_TOMCAT}/bin/catalina.sh"
"""By which it is seen whether Tomcat is installed."""


class Tomcat(BackgroundServer):
    """Tomcat without an application; its directory is `catalina.base`."""

    @property
    def _command(self) -> tuple[str, ...]:
        classes = f"{_TOMCAT}/bin/bootstrap.jar:{_TOMCAT}/bin/tomcat-juli.jar"
        return (
            *("java", "-XX:TieredStopAtLevel=1", "-cp", classes, f"-Dcatalina.home={_TOMCAT}"),
            *(f"-Dcatalina.base={self.directory}", f"-Djava.io.tmpdir={self.directory}"),
            *("org.apache.catalina.startup.Bootstrap", "start"),
        )

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that tests nothing: there is none."""
        return ("true",)

    def _config(self) -> str:
        (site,) = self.sites
        return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<Server port="-1">
  <Service name="Catalina">
    <Connector address="{self.host}" port="{self.port}" SSLEnabled="true" scheme="https" secure="true">
      <SSLHostConfig>
        <Certificate certificateFile="{site.certificate}" certificateKeyFile="{site.key}" />
      </SSLHostConfig>
    </Connector>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" />
    </Engine>
  </Service>
</Server>
"""

    def start(self) -> None:
        """Return once the port accepts; raises LabError where it does not."""
        self.config_file = os.path.join(self.directory, "conf", "server.xml")
        os.makedirs(os.path.dirname(self.config_file), exist_ok=True)
        replace_file(self.config_file, self._config().encode())
        replace_file(self.log_file, b"")
        self.process = process = ServerProcess(self._command, self.log_file)
        process.wait_until(lambda: accepts(self.host, self.port), f"listening on {self.address}", deadline=60)

    def _activate(self, process: ServerProcess) -> None:
        process.stop()
        self.start()
