"""What systemd is given to run certvigil by: units with exactly the rights that are needed, users, directories."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.load import load
from config.model import Config
from monitor.actor import context as context_module
from monitor.actor.context import actor_context
from monitor.actor.handlers import handle
from monitor.actor.request import Request, Verb
from monitor.actor.work import Work
from monitor.host.units import units
from monitor.lab.process import find_command
from monitor.state.trust import read_trust_context
from tests.kit.actor import ActorHouse, StartedActor, house
from tests.kit.authority import fresh
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.openssl_client import presented
from tests.kit.worlds import Step, StepWorld

DAEMON, ACTOR, RECOVER = (f"systemd/system/certvigil{each}.service" for each in ("", "-actor", "-recover"))
PROGRAM = ("/usr/bin/certvigil",)
PATH = "/etc/certvigil"
NGINX = {"unit": "nginx", "test": ["/usr/sbin/nginx", "-t"], "activate": "reload", "writes": ["/var/log/nginx"]}
WEB = {"artefacts": {"certificate": "/etc/nginx/tls/site.crt", "key": "/etc/nginx/keys/site.key"}, "service": NGINX}

Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def configured(component: Mapping[str, object] = WEB, **more: object) -> Config:
        path = tmp_path / "certvigil.yaml"
        path.write_text(json.dumps({"components": {"web": component}, **more}))
        path.chmod(0o600)
        config = load(str(path), {})
        assert isinstance(config, Config), config
        return config

    return configured


def made(config: Config, command: Sequence[str] = PROGRAM, path: str = PATH) -> Mapping[str, str]:
    found = units(config, command, path)
    assert isinstance(found, Mapping), found
    return found


def objections(config: Config, path: str = PATH) -> Sequence[str]:
    found = units(config, PROGRAM, path)
    assert not isinstance(found, Mapping)
    return found


def values(text: str, name: str) -> list[list[str]]:
    """Return the words of each line that sets `name`, as systemd.syntax(7) reads them."""
    lines = [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]
    return [[word.replace("%%", "%") for word in shlex.split(line)] for line in lines]


def writable(text: str) -> list[str]:
    """Return where a unit may write."""
    own = [f"/var/lib/{each}" for (each,) in values(text, "StateDirectory")]
    own += [f"/run/{each}" for (each,) in values(text, "RuntimeDirectory")]
    return own + [each.removeprefix("-") for (each,) in values(text, "ReadWritePaths")]


def lies_in(path: str, directories: Sequence[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in directories)


def test_a_small_configuration_gives_exactly_this(configure: Configure) -> None:
    """What does not stand in a template; that is, what comes from the configuration."""
    shipped = {line for each in (files("config") / "templates").iterdir() for line in each.read_text().splitlines()}
    own = {
        name: [line for line in text.splitlines() if line not in shipped and not line.startswith("# Made")]
        for name, text in made(configure()).items()
    }
    writes = [
        "ReadWritePaths=/var/lib/certvigil-actor",
        "ReadWritePaths=/var/lib/certvigil-inbox",
        "ReadWritePaths=-/etc/nginx/keys",
        "ReadWritePaths=-/etc/nginx/tls",
        "ReadWritePaths=-/var/log/nginx",
    ]
    capabilities = [
        "# FOWNER           and its mode, times, ACL and SELinux label, and the old one a second name, whoever owns it",
        "# DAC_OVERRIDE     in directories that belong to a service's user and are closed to others",
        "# NET_BIND_SERVICE a server that a command starts binds its ports, and so does a test such as `nginx -t`",
        "# DAC_READ_SEARCH  the reader of keys, another user, keeps this and nothing else",
        "CapabilityBoundingSet=CAP_FOWNER CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE",
        "# Of /proc it sees all, since /proc/PID/loginuid says who logged in. It changes owners, users and limits of",
    ]
    assert own == {
        DAEMON: [
            "After=network-online.target certvigil-actor.service",
            "Wants=network-online.target certvigil-actor.service",
            "ExecStart=/usr/bin/certvigil run --config /etc/certvigil",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "User=certvigil",
            "SupplementaryGroups=certvigil-actor",
            *("StateDirectory=certvigil", "StateDirectoryMode=0700"),
            *("RuntimeDirectory=certvigil", "RuntimeDirectoryMode=0755"),
        ],
        ACTOR: [
            "ExecStart=/usr/bin/certvigil actor --config /etc/certvigil",
            "ExecReload=/bin/kill -HUP $MAINPID",
            # Eleven commands of 30 seconds, four times the deadline of 60, and 30 more.
            *("TimeoutStartSec=600s", "TimeoutStopSec=600s"),
            *("RuntimeDirectory=certvigil-actor", "RuntimeDirectoryMode=0755"),
            *writes,
            *capabilities,
        ],
        RECOVER: [
            "Before=certvigil-actor.service certvigil.service nginx.service",
            "ExecStart=/usr/bin/certvigil recover --no-services --config /etc/certvigil",
            *writes,
            *capabilities,
        ],
        "sysusers.d/certvigil.conf": [
            'u certvigil - "certvigil" /var/lib/certvigil',
            'u certvigil-reader - "certvigil, reading keys"',
            "g certvigil-actor -",
            "m certvigil certvigil-actor",
        ],
        "tmpfiles.d/certvigil.conf": [
            "d /var/lib/certvigil 0700 certvigil - -",
            "d /var/lib/certvigil-actor 0700 root root -",
            "d /var/lib/certvigil-inbox 0755 root root -",
            "d /var/lib/certvigil-inbox/web 0755 root root -",
        ],
    }


@pytest.mark.parametrize(
    "component",
    [
        {"artefacts": {"certificate": "/etc/nginx/tls/site.crt"}},
        {"artefacts": WEB["artefacts"], "keys": "unread"},
    ],
)
def test_where_nothing_may_be_changed_and_no_key_is_read_there_is_no_actor(
    configure: Configure, component: Mapping[str, object]
) -> None:
    found = made(configure(component))
    assert ACTOR not in found
    assert RECOVER not in found
    assert "certvigil-actor" not in "".join(found.values())
    assert "certvigil-reader" not in "".join(found.values())
    assert writable(found[DAEMON]) == ["/var/lib/certvigil", "/run/certvigil"]


@pytest.mark.parametrize("artefacts", [WEB["artefacts"], {"combined": "/a.pem"}, {"keystore": "/a.p12"}])
def test_where_a_key_is_only_read_there_is_an_actor_that_may_write_nothing_of_a_service(
    configure: Configure, artefacts: object
) -> None:
    found = made(configure({"artefacts": artefacts}))
    assert RECOVER not in found
    assert "certvigil-actor.service" in found[DAEMON]
    own = ["/var/lib/certvigil-actor", "/var/lib/certvigil-inbox"]
    assert writable(found[ACTOR]) == ["/run/certvigil-actor", *own]


def test_the_actor_may_write_where_a_trust_store_is_that_a_person_may_change(configure: Configure) -> None:
    component = {"artefacts": {"certificate": "/etc/nginx/tls/site.crt"}}
    java = {"bundle": "/usr/java/security/cacerts", "mode": "approve", "service": {"unit": "nxportal"}}
    watched = {"bundle": "/etc/corporate/root.pem"}
    switch = {"file": "/etc/portal/portal.conf", "key": "ssl.verify", "disables": "false"}
    clients = {"portal": {"trusts": "java", "validation_switch": switch}}
    found = made(configure(component, trust_stores={"java": java, "corporate": watched}, clients=clients))
    for unit in (ACTOR, RECOVER):
        assert "/usr/java/security" in writable(found[unit])
        assert "/etc/portal" in writable(found[unit]), "`trust enforce` edits the client's own configuration"
    assert not any("/etc/corporate" in each for each in writable(found[ACTOR]))
    assert "nxportal.service" in found[RECOVER]


def test_the_daemon_has_no_capability_and_the_actor_that_by_which_the_reader_reads(configure: Configure) -> None:
    found = made(configure())
    assert values(found[DAEMON], "CapabilityBoundingSet") == [[]]
    assert "CAP_DAC_READ_SEARCH" in {each for line in values(found[ACTOR], "CapabilityBoundingSet") for each in line}


@pytest.mark.parametrize(
    ("component", "more"),
    [
        ({"artefacts": WEB["artefacts"]}, set()),
        ({**WEB, "service": {"unit": "nginx"}}, {"CAP_FOWNER", "CAP_DAC_OVERRIDE"}),
        (
            {**WEB, "service": {"restart": ["/opt/app/restart"]}},
            {"CAP_FOWNER", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"},
        ),
        (WEB, {"CAP_FOWNER", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"}),
    ],
)
def test_the_actor_has_no_capability_that_no_service_needs(
    configure: Configure, component: Mapping[str, object], more: set[str]
) -> None:
    text = made(configure(component))[ACTOR]
    needed = {"CAP_CHOWN", "CAP_DAC_READ_SEARCH", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"}
    assert {each for line in values(text, "CapabilityBoundingSet") for each in line} == needed | more


def test_the_daemon_sees_its_own_processes_alone_and_the_actor_who_logged_in(configure: Configure) -> None:
    found = made(configure())
    for name, value in {
        "ProtectProc": "invisible",
        "ProcSubset": "pid",
        **dict.fromkeys(("ProtectKernelLogs", "PrivateMounts", "RemoveIPC"), "yes"),
    }.items():
        assert values(found[DAEMON], name) == [[value]]
    assert values(found[ACTOR], "ProtectProc") == values(found[ACTOR], "ProcSubset") == []


def test_operators_and_the_daemon_are_in_the_group_of_the_actor_s_socket(configure: Configure) -> None:
    actor = {"operators": ["alice", "root", "1000"], "group": "pki", "daemon_user": "vigil"}
    found = made(configure(actor=actor))
    assert found["sysusers.d/certvigil.conf"].splitlines()[-3:] == ["g pki -", "m vigil pki", "m alice pki"]
    assert values(found[DAEMON], "SupplementaryGroups") == [["pki"]]


@pytest.mark.server("systemd-analyze")
def test_systemd_thinks_well_of_what_the_daemon_is_exposed_to(configure: Configure, tmp_path: Path) -> None:
    analyze = find_command("systemd-analyze")
    assert analyze is not None
    unit = tmp_path / "certvigil.service"
    unit.write_text(made(configure())[DAEMON])
    ran = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_actor_has_as_long_as_the_services_may_take(configure: Configure) -> None:
    config = configure({**WEB, "service": {**NGINX, "timeout": "2m"}}, validation={"deadline": "90s"})
    assert values(made(config)[ACTOR], "TimeoutStopSec") == [["1710s"]]


def test_a_server_that_a_command_starts_by_itself_outlives_the_actor(configure: Configure) -> None:
    """Seen: a server that a command starts by itself ends with the actor."""
    unit, script = (
        made(configure())[ACTOR],
        made(configure({**WEB, "service": {"restart": ["/opt/app/restart"]}}))[ACTOR],
    )
    for text in (unit, script):
        assert values(text, "KillMode") == [["process"]]
        assert values(text, "OOMPolicy") == [["continue"]]
    # systemd removes a private /tmp with the unit that it is for.
    assert (values(unit, "PrivateTmp"), values(script, "PrivateTmp")) == ([["yes"]], [["no"]])


@pytest.mark.parametrize(
    ("service", "unit"),
    [
        ({"unit": "nginx"}, "nginx.service"),
        ({"unit": "haproxy@a.service"}, "haproxy@a.service"),
        ({"restart": ["/bin/systemctl", "restart", "lighttpd"]}, "lighttpd.service"),
        ({"restart": ["/opt/engine/restart"]}, None),
    ],
)
def test_recovery_comes_before_the_services_as_far_as_they_are_units(
    configure: Configure, service: Mapping[str, object], unit: str | None
) -> None:
    (before,) = values(made(configure({**WEB, "service": service}))[RECOVER], "Before")
    assert before[2:] == ([unit] if unit else [])


def test_files_are_written_where_links_lead_as_well_as_where_they_are_configured(
    configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "site.crt").write_text("")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "site.crt").symlink_to("../real/site.crt")
    config = configure({**WEB, "artefacts": {"combined": str(tmp_path / "given" / "x" / ".." / "site.crt")}})
    text = made(config)[ACTOR]
    assert {str(tmp_path / "real"), str(tmp_path / "given")} <= set(writable(text))
    assert values(text, "PrivateTmp") == [["no" if str(tmp_path).startswith("/tmp/") else "yes"]]


def test_sockets_and_state_elsewhere_may_be_written_to_as_well(configure: Configure) -> None:
    found = made(
        configure(
            state_directory="/srv/vigil/state",
            socket="/srv/vigil/run/d.sock",
            actor={"socket": "/srv/actor/run/a.sock", "daemon_user": "1234", "directory": "/srv/actor/own"},
        )
    )
    assert writable(found[DAEMON]) == ["/srv/vigil/state", "/srv/vigil/run"]
    assert writable(found[ACTOR])[:3] == ["/srv/actor/run", "/srv/actor/own", "/var/lib/certvigil-inbox"]
    assert values(found[DAEMON], "User") == [["1234"]]
    assert "u 1234" not in found["sysusers.d/certvigil.conf"]


HOSTILE = "/srv/a b %h $HOME \"q\" 's' \\x20 ; # é"


def test_paths_are_spelt_as_systemd_reads_them(configure: Configure) -> None:
    artefacts = {"certificate": f"{HOSTILE}/site.crt", "key": f"{HOSTILE}/site.key"}
    config = configure({**WEB, "artefacts": artefacts}, actor={"inbox_directory": f"{HOSTILE}/inbox"})
    found = made(config, ("/opt/a b %h $x/certvigil", "$x"), HOSTILE)
    assert {HOSTILE, f"{HOSTILE}/inbox"} <= set(writable(found[ACTOR]))
    (command,) = values(found[ACTOR], "ExecStart")
    # In an argument a dollar sign is written twice; in the program's own path it stands for itself.
    assert command == ["/opt/a b %h $x/certvigil", "$$x", "actor", "--config", HOSTILE.replace("$", "$$")]
    line = found["tmpfiles.d/certvigil.conf"].splitlines()[-1]
    assert shlex.split(line.replace("%%", "%"))[1] == f"{HOSTILE}/inbox/web"


@pytest.mark.server("systemd-analyze")
def test_systemd_finds_nothing_wrong(configure: Configure, tmp_path: Path) -> None:
    """Neither in plain units nor in those with hostile paths."""
    program = tmp_path / "a b %h é" / "certvigil"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    artefacts = {"certificate": f"{HOSTILE}/site.crt", "key": "/etc/site.key"}
    for name, component in (("plain", WEB), ("hostile", {**WEB, "artefacts": artefacts})):
        directory = tmp_path / name
        config = configure(component, actor={"inbox_directory": f"{HOSTILE}/inbox"})
        for file, text in made(config, (str(program),), HOSTILE).items():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_text(text)
        verified = verify(directory)
        assert (verified.returncode, verified.stderr) == (0, "")
    (directory / ACTOR).write_text(text.replace("d ", "[Service]\nReadWritePaths=not absolute\n", 1))
    assert verify(directory).stderr != "", "systemd would say so"


def verify(directory: Path) -> subprocess.CompletedProcess[str]:
    analyze = find_command("systemd-analyze")
    assert analyze is not None
    return subprocess.run(
        [analyze, "verify", "--man=no", *(str(directory / each) for each in (DAEMON, ACTOR, RECOVER))],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}/systemd/system:", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"state_directory": "/var/lib"}, "/var/lib is used by others"),
        ({"actor": {"directory": "/srv"}}, "/srv is used by others"),
        (
            {"actor": {"inbox_directory": "/var/lib/certvigil/inbox"}},
            "/var/lib/certvigil/inbox is the actor's to write",
        ),
        ({"socket": "/etc/nginx/vigil.sock"}, "/etc/nginx/tls is the actor's to write, but lies where the daemon may"),
        ({"socket": "/run/a\nb/vigil.sock"}, "/run/a\\x0ab/vigil.sock cannot be named in a unit"),
        (
            {"components": {"web": {**WEB, "service": {"unit": "nginx\nUser=x"}}}},
            "nginx\\x0aUser=x.service is no name of a unit",
        ),
    ],
)
def test_what_would_be_unsafe_or_cannot_be_written_down_is_refused_with_a_reason(
    configure: Configure, more: Mapping[str, object], why: str
) -> None:
    assert any(why in each for each in objections(configure(**more)))


def test_a_program_that_systemd_would_not_start_is_refused(configure: Configure) -> None:
    (why,) = units(configure(), ('/opt/"x"/certvigil',), PATH)
    assert "is started by no systemd" in why


def test_the_command_prints_them_or_writes_whole_files(configure: Configure, tmp_path: Path) -> None:
    configure()
    path = str(tmp_path / "certvigil.yaml")
    printed = certvigil("config", "units", path)
    assert printed.returncode == 0, printed.stderr
    for _ in range(2):
        written = certvigil("config", "units", path, "--out", str(tmp_path / "etc"))
        assert written.returncode == 0, written.stderr
    found = {str(each.relative_to(tmp_path / "etc")) for each in (tmp_path / "etc").rglob("*") if each.is_file()}
    assert found == set(made(load(path, {})))  # type: ignore[arg-type]
    for name in found:
        text = (tmp_path / "etc" / name).read_text()
        assert f"# {name}\n{text}" in printed.stdout
        assert f"--config {path}" in text or ".d/" in name
    configure(state_directory="/var/lib")
    refused = certvigil("config", "units", path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "/var/lib is used by others" in refused.stderr
    nowhere = certvigil("config", "units", path, "--out", "/proc/nowhere")
    assert nowhere.returncode == 1


# On a real server


@pytest.fixture
def web() -> Iterator[ActorHouse]:
    """Give a house whose daemon has directories of its own, and whose certificate is a link."""
    with house() as made:
        os.mkdir(f"{made.directory}/real")
        os.rename(made.site.certificate, f"{made.directory}/real/site.crt")
        os.symlink("../real/site.crt", made.site.certificate)
        yield made


def configured(web: ActorHouse) -> Config:
    own = {"state_directory": f"{web.directory}/state", "socket": f"{web.directory}/run/daemon.sock"}
    document = web.document({"service": {**web.component()["service"], "writes": [web.server.directory]}})  # type: ignore[dict-item]
    document["actor"]["socket"] = f"{web.directory}/actor-run/actor.sock"
    path = Path(web.config_file)
    path.write_text(json.dumps({**document, **own}))
    config = load(str(path), {})
    assert isinstance(config, Config), config
    return config


@pytest.mark.server("nginx")
def test_every_path_that_a_transaction_changes_may_be_written_by_the_actor_and_none_by_the_daemon(
    web: ActorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: set[str] = set()

    def record(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.changes and step.name not in {"sync_directory", "run"}:
            changed.update(each for each in given if isinstance(each, str) and each.startswith("/"))
        return act()

    monkeypatch.setattr(context_module, "World", lambda: StepWorld(record))
    config = configured(web)
    found = made(config)
    # As tmpfiles.d has them made.
    os.makedirs(web.inbox)
    web.put(fresh())
    with actor_context(read_trust_context(config)[0]) as context:
        answer = handle(Work(context, "a test"), Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, ("web",))))
        assert answer["endings"][0]["outcome"] == "committed", answer
    assert {f"{web.directory}/real/site.crt", web.site.key, f"{web.directory}/inbox/web/new.key"} <= changed
    for unit in (ACTOR, RECOVER):
        assert [each for each in changed if not lies_in(each, writable(found[unit]))] == []
    assert [each for each in changed if lies_in(each, writable(found[DAEMON]))] == []


IN_A_SANDBOX = """\
set -e
# Each may be written to, and then nothing else but what the kernel makes up.
for path in {writable}; do mkdir -p "$path"; mount --bind "$path" "$path"; done
mount -o remount,bind,ro /
grep -q ' {parent} ' /proc/self/mountinfo && mount -o remount,bind,ro {parent}
! touch {directory}/beside {directory}/state 2>/dev/null || exit 9
exec "$@"
"""


@pytest.mark.server("nginx")
def test_the_actor_replaces_a_certificate_with_the_rights_of_its_unit_and_no_others(web: ActorHouse) -> None:
    """Its files belong to somebody else, and everything that is not named in the unit is mounted read-only."""
    if os.getuid() != 0:
        pytest.skip("only root can take rights from root")
    text = made(configured(web))[ACTOR]
    for path in (f"{web.directory}/real/site.crt", web.site.key):
        os.chown(path, 65534, 65534)
    capabilities = [each for line in values(text, "CapabilityBoundingSet") for each in line]
    bounding = ",".join(("-all", *(f"+{each.removeprefix('CAP_').lower()}" for each in capabilities)))
    script = IN_A_SANDBOX.format(
        writable=shlex.join(writable(text)), parent=os.path.dirname(web.directory), directory=web.directory
    )
    sandbox = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*sandbox, "true"], capture_output=True, check=False).returncode == 1:
        pytest.skip("mounting is not allowed here")
    wrapper = [*sandbox, "setpriv", "--bounding-set", bounding, "--inh-caps", "-all", "--no-new-privs"]
    new = fresh()
    with StartedActor(
        web.config_file, f"{web.directory}/actor-run/actor.sock", f"{web.directory}/log", wrapper
    ) as actor:
        web.put(new)
        answer = actor.ask(Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, ("web",))))
        assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
        read = actor.ask(Request(Verb.READ, components=("web",)))["facts"]["files"]
        assert [(len(each["certificates"]), len(each["keys"]), each["failure"]) for each in read] == [
            (2, 0, None),
            (0, 1, None),
        ]
        assert "not confined" not in actor.text
    assert presented(web.server)[0] == new.der()
    for path in (f"{web.directory}/real/site.crt", web.site.key):
        assert os.stat(path).st_uid == 65534
    assert os.listdir(web.inbox) == []


# Under the filters of the units: what systemd would refuse is refused by strace


def forbidden(text: str) -> set[str]:
    """Return the system calls that a unit refuses."""
    analyze = find_command("systemd-analyze")
    assert analyze is not None
    listed = subprocess.run(
        [analyze, "syscall-filter", "--no-pager"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    groups: dict[str, set[str]] = {}
    name = ""
    for line in listed.splitlines():
        if line and not line.startswith((" ", "#")):
            name = line.strip()
        elif line.strip() and not line.strip().startswith("#"):
            groups.setdefault(name, set()).add(line.strip())

    def calls(named: str) -> set[str]:
        inside = groups.get(named, set()) if named.startswith("@") else {named}
        return inside if named not in groups else {call for each in inside for call in calls(each)}

    (allowed, *others) = values(text, "SystemCallFilter")
    granted = {call for each in allowed for call in calls(each)}
    for words in others:
        assert words[0].startswith("~")
        granted -= {call for each in words for call in calls(each.removeprefix("~"))}
    assert {"read", "openat", "connect"} <= granted
    return calls("@known") - granted


TETHERED = "import ctypes,os,sys; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"


def under_filter(text: str, log: str) -> list[str]:
    """Return what runs a program so that what a unit refuses fails as it does there, and is written to a log."""
    strace = find_command("strace")
    assert strace is not None
    # A leading question mark has strace pass over what this processor does not have.
    refused = ",".join(f"?{each}" for each in sorted(forbidden(text)))
    traced = [strace, "-f", "-qq", "-o", log, "-e", f"trace={refused}", "-e", f"inject={refused}:error=EPERM"]
    # It ends with strace.
    return [*traced, sys.executable, "-c", TETHERED]


@pytest.mark.server("systemd-analyze")
@pytest.mark.server("strace")
@pytest.mark.server("nginx")
def test_daemon_and_actor_use_no_system_call_that_their_units_refuse(web: ActorHouse) -> None:
    """The actor as root, the daemon as a user without rights that sees of /proc what its unit shows it."""
    if os.getuid() != 0:
        pytest.skip("only root can become others")
    web.configure(daemon_user="64010", group="64010")
    found = made(configured(web))
    assert {"chown", "setresuid", "mount"} <= forbidden(found[DAEMON])
    assert "mount" in forbidden(found[ACTOR])
    assert forbidden(found[ACTOR]).isdisjoint({"chown", "fchown", "setresuid", "setrlimit"})
    new, actor_log = fresh(), f"{web.directory}/actor.strace"
    document = {
        **json.loads(Path(web.config_file).read_text()),
        "actor": {**web.settings, "daemon_user": "64010", "group": "64010"},
    }
    Path(web.config_file).write_text(json.dumps(document))
    daemon_log = f"{web.directory}/traces/daemon.strace"
    os.mkdir(os.path.dirname(daemon_log))
    os.chown(os.path.dirname(daemon_log), 64010, 64010)
    as_daemon = ["--reuid", "64010", "--regid", "64010", "--clear-groups"]
    # The only right that it keeps, since an interpreter may lie where only root may look.
    as_daemon += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    hidden = 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$@"'
    wrapper = ["unshare", "--mount", "sh", "-c", hidden, "sh", "setpriv", *as_daemon]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    filters = under_filter(found[ACTOR], actor_log)
    with StartedActor(web.config_file, web.settings["socket"], f"{web.directory}/log", filters) as actor:
        own = {key: each for key, each in document.items() if key not in {"state_directory", "socket"}}
        daemon = RunningDaemon(own, wrapper=[*wrapper, *under_filter(found[DAEMON], daemon_log)])
        try:
            for path in (daemon.directory, daemon.config_file, daemon.manager.address):
                os.chown(path, 64010, 64010)
            daemon.start()
            web.put(new)
            answer = actor.ask(Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, ("web",))))
            assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
            daemon.wait_for(lambda: "certvigil_target_up" in daemon.page(), "its metrics")
            daemon.wait_for(
                lambda: hashlib.sha256(new.der()).hexdigest() in json.dumps(daemon.ask("/api/v1/certificates")),
                "the new one",
            )
        finally:
            daemon.close()
    refused = [line for log in (actor_log, daemon_log) for line in Path(log).read_text().splitlines() if "(" in line]
    assert refused == []
    assert presented(web.server)[0] == new.der()


def test_a_group_has_one_inbox_and_its_members_have_none(configure: Configure) -> None:
    found = made(configure(groups={"both": ["web"]}))
    lines = found["tmpfiles.d/certvigil.conf"].splitlines()
    inboxes = [line.split()[1] for line in lines if "certvigil-inbox/" in line]
    assert inboxes == ["/var/lib/certvigil-inbox/both"]


def test_the_directory_of_offers_is_the_actor_s_and_the_site_says_who_else_writes_there(configure: Configure) -> None:
    offered = "/srv/offered"
    found = made(configure(actor={"offered_directory": offered}))
    assert f"ReadWritePaths={offered}" in found[ACTOR].splitlines()
    lines = found["tmpfiles.d/certvigil.conf"].splitlines()
    assert f"d {offered} 0755 root root -" in lines
    assert f"d {offered}/web - - - -" in lines, "mode and group that the site gave it stay"
