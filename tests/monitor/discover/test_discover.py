"""`certvigil discover`: every port and file of a host with real servers; `config check` takes what it writes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from config.load import load
from config.model import Config
from config.vocabulary import ServerSoftware
from monitor.discover.services import SERVES
from monitor.discover.survey import SurveyScope, survey
from monitor.lab.ca import Authority
from monitor.lab.servers import Nginx, write_site
from tests.kit.daemon import CERTVIGIL, certvigil, on_a_terminal
from tests.kit.server_host import NAME, PROGRAMS, QUICK, UNITS, ServerHost

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="these servers are started by root")
S = ServerSoftware
QUICK_ONES = [pytest.mark.server(PROGRAMS[each]) for each in QUICK]
ALL = [pytest.mark.slow, *(pytest.mark.server(each) for each in PROGRAMS.values())]


def discover(host: ServerHost, *arguments: str) -> tuple[int, str, str]:
    ports = [word for each in host.servers.values() for word in ("--port", str(each.port))]
    ran = certvigil("discover", "--root", host.root, *ports, *arguments)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize(
    "software",
    [pytest.param(QUICK, id="some", marks=QUICK_ONES), pytest.param(tuple(PROGRAMS), id="all", marks=ALL)],
)
def test_every_port_and_file_is_found_and_each_component_is_ready(
    software: tuple[ServerSoftware, ...], issuing_ca: Authority, cleanup: ExitStack
) -> None:
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    host = ServerHost(f"{directory}/root", issuing_ca)
    host.start(software, cleanup)
    written = (path for path in Path(host.root, "etc").rglob("*") if path.is_file() and path.suffix != ".log")
    before = {path: path.read_bytes() for path in written}
    out = f"{directory}/config/certvigil.yaml"
    os.mkdir(f"{directory}/config")
    code, shown, errors = discover(host, "--json", "--out", out)
    assert code == 0, errors
    found = json.loads(shown)
    by_port = {each["port"]: each for each in found["ports"]}
    by_server = {each["server"]: each for each in found["certificates"]}
    assert set(by_server) == set(software)
    for each, server in host.servers.items():
        port = by_port[server.port]
        assert (port["server"], port["address"]) == (each, server.host)
        assert port["files"] == [server.sites[0].certificate]
        assert by_server[each]["served_at"] == [server.address]
        assert by_server[each]["component"] == each
        assert by_server[each]["only_watched"] == []
        assert by_server[each]["unit"] == UNITS[each]
    config = load(out, {})
    assert isinstance(config, Config), config
    for each, server in host.servers.items():
        component = config.components[each]
        assert set(component.artefacts.files.values()) == {server.sites[0].certificate, server.sites[0].key}
        assert component.service is not None
        assert component.service.unit == UNITS[each]
        assert [(config.endpoints[name].port, config.endpoints[name].server_name) for name in component.endpoints] == [
            (server.port, NAME)
        ]
    checked = certvigil("config", "check", out)
    assert checked.returncode == 0, checked.stderr
    assert "refused" not in checked.stderr
    replaceable(directory, issuing_ca, software)
    assert {path: path.read_bytes() for path in before} == before


def alone(root: Path | str, *arguments: str, user: int = 0) -> tuple[int, str, str]:
    """Run a command on a host of its own as far as ports go, where no other test's server is seen."""
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    command = ["unshare", "--net", *as_user, *CERTVIGIL, *arguments, "--root", str(root)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def root(cleanup: ExitStack) -> Path:
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    (Path(directory) / "root/run/systemd/system").mkdir(parents=True)
    return Path(directory, "root")


@pytest.mark.server("unshare")
def test_on_an_empty_host_nothing_is_found_and_init_writes_what_loads(root: Path) -> None:
    code, shown, errors = alone(root, "discover")
    assert code == 0
    assert shown == "No open port, no certificate and no lineage was found.\n"
    assert "0 components that can be replaced, 0 that are watched, 0 more endpoints\n" in errors
    assert "systemd" not in errors
    out = root.parent / "certvigil.yaml"
    code, shown, errors = alone(root, "init", "--out", str(out))
    assert (code, shown) == (0, ""), errors
    assert isinstance(load(str(out), {}), Config)
    # It refuses before it looks at anything.
    assert certvigil("init", "--out", str(out)).returncode == 3


@pytest.mark.server("unshare")
def test_a_user_without_rights_and_a_container_are_told_what_is_not_seen(root: Path) -> None:
    shutil.rmtree(root / "run/systemd")
    (root / ".dockerenv").touch()
    (root / "etc/nginx").mkdir(parents=True)
    (root / "etc/nginx/nginx.conf").write_text("events {}")
    (root / "etc/nginx/nginx.conf").chmod(0o600)
    (root / "etc/letsencrypt/live").mkdir(parents=True)
    (root / "etc/letsencrypt/live").chmod(0o700)
    code, _, errors = alone(root, "discover", user=65_534)
    assert code == 0, errors
    for told in (
        "private keys and closed directories, since this is not root",
        "ports, files and services of the host of this container",
        "units that run, since systemd does not run here: a unit is told by the files of the system",
        "processes of other users, the ports that they hold, and other network namespaces: root sees them",
        f"{root}/etc/nginx/nginx.conf: Permission denied",
        f"{root}/etc/letsencrypt/live: Permission denied",
    ):
        assert told in errors


def test_ports_that_never_answer_take_no_longer_than_the_survey_may(root: Path, cleanup: ExitStack) -> None:
    silent = [cleanup.enter_context(create_server(("127.0.0.1", 0))) for _ in range(40)]
    only = frozenset(each.getsockname()[1] for each in silent)
    found = survey(SurveyScope(str(root), only, timeout=0.3, patience=0.2), time.time())
    assert [each.socket.port for each in found.ports] == sorted(only)
    (late,) = (each for each in found.unseen if "no time was left" in each)
    number = re.match(r"what ([0-9]+) ports speak", late)
    assert number is not None
    # On a busy machine even the first ones start late.
    assert int(number[1]) >= 40 - 16


def test_a_profile_s_options_need_a_profile() -> None:
    ran = certvigil("init", "--set", "role=single")
    assert (ran.returncode, ran.stderr) == (
        3,
        "certvigil init: --set and --without-files are about a profile: name it by --profile\n",
    )


def test_a_file_that_is_there_is_not_written_over(root: Path) -> None:
    ran = certvigil("discover", "--root", str(root), "--port", "1", "--out", str(root))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == f"certvigil discover: {root} exists: a configuration is written to a new file\n"


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_shows_every_word_whole(columns: int, root: Path) -> None:
    (root / "etc/nginx").mkdir(parents=True)
    (root / "etc/nginx/nginx.conf").write_text(
        "http { server { listen 443 ssl; ssl_certificate /no/site.pem; ssl_certificate_key /no/site.key; }"
        " server { listen 444 ssl; ssl_certificate $name.pem; ssl_certificate_key a; } }"
    )
    shown = on_a_terminal("discover", "--root", str(root), "--port", "1", columns=columns).output
    words = shown.split()
    for word in (f"{root}/no/site.pem", f"{root}/etc/nginx/nginx.conf", "$name.pem", "understood:"):
        assert word in words
    assert ("because" in shown.splitlines()[0]) is (columns == 200)


def replaceable(directory: str, issuing: Authority, software: Iterable[ServerSoftware]) -> None:
    """Plan the replacement of each component by the written configuration, with the root of the test's own CA."""
    Path(directory, "root.pem").write_bytes(issuing.anchor.pem())
    issued = issuing.issue(NAME)
    own = {
        "trust_stores": {"lab": {"bundle": f"{directory}/root.pem"}},
        "clients": {"default": {"trusts": "lab"}},
        "actor": {"directory": f"{directory}/actor", "socket": f"{directory}/socket"},
        "state_directory": f"{directory}/state",
    }
    for name, data in (
        ("new.pem", issued.chain_pem() + issued.key_pem()),
        ("config/own.yaml", json.dumps(own).encode()),
    ):
        Path(directory, name).write_bytes(data)
        Path(directory, name).chmod(0o600)
    for each in software:
        given = ("--from", f"{directory}/new.pem", "--dry-run", "--config", f"{directory}/config")
        ran = certvigil("replace", each, *given)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        verb = SERVES[each].activate
        assert f"command    {each}: /usr/bin/systemctl {verb} {UNITS[each]}\n" in ran.stdout


class PairedNginx(Nginx):
    """nginx with a pair of keys for everybody, another certificate for one name, and a listener for a load balancer."""

    def _config(self) -> str:
        rsa, ec, named = self.sites
        files = "\n".join(f"ssl_certificate {each.certificate}; ssl_certificate_key {each.key};" for each in (rsa, ec))
        return f"""\
daemon off; pid {self.directory}/pid; worker_processes 1; events {{}}
http {{
    access_log off; client_body_temp_path {self.directory}; proxy_temp_path {self.directory};
    fastcgi_temp_path {self.directory}; uwsgi_temp_path {self.directory}; scgi_temp_path {self.directory};
    server {{ listen {self.address} ssl default_server; {files} return 200; }}
    server {{
        listen {self.address} ssl; listen {self.host}:{self.port + 1} ssl proxy_protocol; server_name b.example;
        ssl_certificate {named.certificate}; ssl_certificate_key {named.key}; return 200;
    }}
}}
"""


@pytest.mark.server("nginx")
def test_a_pair_of_keys_a_name_a_proxied_port_and_a_file_that_is_not_served_are_told_apart(
    root: Path, issuing_ca: Authority, cleanup: ExitStack
) -> None:
    directory = str(root / "etc/ssl")
    rsa = write_site(directory, issuing_ca.issue("a.example", key=generate_private_key(65_537, 2048)), stem="rsa")
    ec = write_site(directory, issuing_ca.issue("a.example"), stem="ec")
    named = write_site(directory, issuing_ca.issue("b.example"), stem="named")
    server = PairedNginx(str(root / "var"), [rsa, ec, named])
    server.config_file = str(root / "etc/nginx/nginx.conf")
    os.makedirs(root / "etc/nginx")
    os.makedirs(root / "lib/systemd/system")
    (root / "lib/systemd/system/nginx.service").touch()
    cleanup.enter_context(server)
    out = root.parent / "certvigil.yaml"
    ports = ("--port", str(server.port), "--port", str(server.port + 1))
    ran = certvigil("discover", "--root", str(root), *ports, "--json", "--out", str(out))
    assert ran.returncode == 0, ran.stderr
    config = load(str(out), {})
    assert isinstance(config, Config), config
    found = {
        each.artefacts.certificate: sorted(
            (endpoint.port, endpoint.server_name, endpoint.key_type, endpoint.proxy_protocol)
            for endpoint in map(config.endpoints.__getitem__, each.endpoints)
        )
        for each in config.components.values()
    }
    assert found == {
        rsa.certificate: [(server.port, "a.example", "rsa", None)],
        ec.certificate: [(server.port, "a.example", "ec", None)],
        named.certificate: [(server.port, "b.example", None, None), (server.port + 1, "b.example", None, "v1")],
    }
    assert all(each.service is not None for each in config.components.values())
    named.install(issuing_ca.issue("b.example"))
    ran = certvigil("discover", "--root", str(root), *ports, "--json")
    by_file = {each["certificate"]: each for each in json.loads(ran.stdout)["certificates"]}
    renewed = by_file[named.certificate]
    assert (renewed["component"], renewed["served_at"]) == (None, [])
    assert renewed["differs_at"] == [server.address, f"{server.host}:{server.port + 1}"]
    assert by_file[rsa.certificate]["component"] == "nginx"
