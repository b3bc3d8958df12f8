"""`certvigil config check`: what it says of this host, beside mistakes in the configuration itself."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from config.trusted import changeable
from monitor.commands.config import check
from monitor.host import outside
from monitor.host.systemd import lacks_unit
from monitor.lab.ca import Authority
from tests.kit.configuration import Write, write
from tests.kit.java_keystore import CHANGEIT, store

__all__ = ["write"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only what belongs to root is beyond doubt")

Capture = pytest.CaptureFixture[str]


def said(path: str, capsys: Capture, *, code: int = 0) -> list[str]:
    """Return what a check of the configuration at `path` says, where it ends with `code`, without the file's name."""
    assert check(path) == code
    return [line.replace(path, "FILE") for line in capsys.readouterr().err.splitlines()]


def lines(text: str) -> list[str]:
    """Return the lines of `text`, in which a deeper one goes on with the one before."""
    return dedent(text).strip().replace("\n  ", " ").splitlines()


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def document(command: str) -> str:
    return f"components: {{web: {{artefacts: {{combined: /a.pem}}, service: {{restart: {command}}}}}}}"


def test_a_bundle_that_is_missing_or_holds_nothing_is_a_warning(write: Write, tmp_path: Path, capsys: Capture) -> None:
    empty, good = tmp_path / "empty.pem", tmp_path / "good.pem"
    empty.write_text("# nothing yet\n")
    good.write_bytes(Authority.root().pem())
    path = write(
        f"""\
        trust_stores:
          missing: {{bundle: /no/where.pem}}
          empty: {{bundle: {empty}}}
          directory:
            bundle: {tmp_path}
          good: {{bundle: {good}}}
        clients:
          java: {{trusts: good, intermediates: [{good}, /no/intermediate.pem, {empty}]}}
        """
    )
    assert said(path, capsys) == lines(
        f"""
        warning: FILE:2: trust_stores.missing.bundle: /no/where.pem: No such file or directory, expected certificates
          to trust
        warning: FILE:3: trust_stores.empty.bundle: {empty}: holds no certificate, expected certificates to trust
        warning: FILE:5: trust_stores.directory.bundle: {tmp_path}: it is not a regular file, expected certificates to
          trust
        warning: FILE:8: clients.java.intermediates[1]: /no/intermediate.pem: No such file or directory, expected
          intermediate certificates
        warning: FILE:8: clients.java.intermediates[2]: {empty}: holds no certificate, expected intermediate
          certificates
        """
    )


def test_mistakes_in_the_file_of_the_web_server_are_warnings(write: Write, tmp_path: Path, capsys: Capture) -> None:
    web = tmp_path / "web.yml"
    web.write_text("basic_auth_users: {alice: hunter2}\ncolour: blue\n")
    first, second = said(write(f"web:\n  config_file: {web}\n"), capsys)
    assert first.startswith(f"warning: FILE:2: web.config_file: {web}:1: basic_auth_users.alice: ")
    assert second.startswith(f"warning: FILE:2: web.config_file: {web}:2: colour: unknown key")
    assert "hunter2" not in first + second
    path = write("web: {config_file: /no/web.yml}")
    assert check(path) == 0
    shown = capsys.readouterr()
    assert shown.err == f"warning: {path}:1: web.config_file: /no/web.yml: cannot be read: No such file or directory\n"
    assert shown.out == f"{path}: ok, 0 files and patterns, 0 endpoints, warnings: 1\n"


def test_a_channel_that_apprise_cannot_deliver_to_is_a_mistake(write: Write, tmp_path: Path, capsys: Capture) -> None:
    urls = tmp_path / "pager.urls"
    urls.write_text("json://localhost\npagrduty://hunter2@key\n")
    urls.chmod(0o600)
    path = write(
        f"""\
        channels:
          ops:
            urls:
              - json://localhost/hunter2
              - slakc://hunter2/hunter2
              - slack://hunter2
          pager: {{urls_file: {urls}}}
        """
    )
    found = said(path, capsys, code=1)
    assert found == lines(
        """
        FILE:5: channels.ops.urls[1]: ops, URL 2 (slakc) is nothing that apprise can deliver to: it knows no 'slakc'
          (did you mean 'slack'?), expected one of its services
        FILE:6: channels.ops.urls[2]: ops, URL 3 (slack) is nothing that apprise can deliver to, expected the form
          that it documents for 'slack'
        FILE:7: channels.pager.urls_file: pager, URL 2 (pagrduty) is nothing that apprise can deliver to: it knows no
          'pagrduty' (did you mean 'pagerduty'?), expected one of its services
        """
    )


def test_apprise_is_not_loaded_where_there_is_no_channel(write: Write) -> None:
    path = write("rescan: 5m")
    script = (
        "import sys; from monitor.commands.config import check; check(sys.argv[1]); assert 'apprise' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=60)


@as_root
def test_a_unit_that_systemd_does_not_know_is_a_warning_where_it_runs(
    write: Write, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("components: {web: {artefacts: {combined: /a.pem}, service: {unit: nxconsole}}}")
    asked: list[tuple[str, ...]] = []

    def lacks(state: tuple[str, ...]) -> bool:
        asked.append(state)
        return True

    monkeypatch.setattr(outside, "lacks_unit", lacks)
    assert said(path, capsys) == [
        "warning: FILE:1: components.web.service.unit: systemd knows no unit nxconsole on this host"
    ]
    (state,) = asked
    assert (state[0], state[-1]) == ("/usr/bin/systemctl", "nxconsole")
    for runs, answer, lacking in (
        (str(tmp_path), "LoadState=not-found", True),
        (str(tmp_path), "LoadState=loaded", False),
        (str(tmp_path / "none"), "LoadState=not-found", False),
    ):
        assert lacks_unit(("/bin/echo", answer), runs) is lacking
    assert not lacks_unit((str(tmp_path / "none"),), str(tmp_path))


@as_root
def test_a_command_that_only_root_may_change_is_no_news(write: Write, tmp_path: Path, capsys: Capture) -> None:
    reload = program(tmp_path / "sbin" / "reload")
    (tmp_path / "link").symlink_to(reload)
    assert said(write(document(f"[{tmp_path}/link, -s, {reload}]")), capsys) == []


@as_root
@pytest.mark.parametrize("through", ["its own path", "a link", "a shell"])
@pytest.mark.parametrize("which", ["file", "directory"])
def test_a_command_that_others_may_change_is_a_warning(
    which: str, through: str, write: Write, tmp_path: Path, capsys: Capture
) -> None:
    reload = program(tmp_path / "sbin" / "reload")
    open_to_all = reload if which == "file" else reload.parent
    open_to_all.chmod(0o777)
    (tmp_path / "link").symlink_to(reload)
    command, word = {
        "its own path": (f"[{reload}]", reload),
        "a link": (f"[{tmp_path}/link, -s]", tmp_path / "link"),
        "a shell": (f"[/bin/sh, -e, {reload}]", reload),
    }[through]
    assert said(write(document(command)), capsys) == lines(
        f"""
        warning: FILE:1: components.web.service.restart: {word} is run as root, but others may change it:
          {open_to_all}: writable by group or others (mode 0777), expected its owner alone
        """
    )


@as_root
def test_a_command_that_belongs_to_somebody_else_is_a_warning(tmp_path: Path) -> None:
    mine, theirs = program(tmp_path / "mine"), program(tmp_path / "theirs")
    os.chown(theirs, 1001, 1001)
    os.symlink(mine, tmp_path / "link")
    os.lchown(tmp_path / "link", 1001, 1001)
    assert changeable(str(mine)) == ""
    assert changeable(str(theirs)) == f"{theirs}: belongs to user 1001, expected root"
    assert changeable(str(tmp_path / "link")) == f"{tmp_path}/link: belongs to user 1001, expected root"


@as_root
def test_a_java_that_others_may_change_is_a_warning_at_its_keystore(
    write: Write, tmp_path: Path, capsys: Capture
) -> None:
    keystore = tmp_path / "java" / "lib" / "security" / "cacerts"
    keystore.parent.mkdir(parents=True)
    keystore.write_bytes(store(password=CHANGEIT))
    own = program(tmp_path / "java" / "bin" / "keytool")
    java = f"trust_stores: {{java: {{bundle: {keystore}, mode: approve}}}}"
    path = write(java)
    os.chown(keystore, 1001, 1001)
    assert not [each for each in said(path, capsys) if "keytool" in each]
    (tmp_path / "java" / "lib" / "modules").touch()
    os.chown(tmp_path / "java" / "lib" / "modules", 1001, 1001)
    why = f"{own} is not run: others may change what it runs: {tmp_path}/java/lib/modules: belongs to user 1001"
    assert [each for each in said(path, capsys) if f"trust_stores.java.bundle: {why}" in each]
    path = write(java.replace("mode: approve", f"mode: approve, keytool: {own}"))
    assert [each for each in said(path, capsys) if f"trust_stores.java.keytool: {why}" in each]


@as_root
def test_a_sticky_directory_keeps_what_is_roots(tmp_path: Path) -> None:
    reload = program(tmp_path / "shared" / "reload")
    reload.parent.chmod(0o777 | stat.S_ISVTX)
    assert changeable(str(reload)) == ""


def test_mistakes_and_what_this_host_has_otherwise_are_said_at_once(write: Write, capsys: Capture) -> None:
    path = write(
        """\
        trust_stores:
          corporate: {bundle: /no/where.pem}
        clients:
          java: {trusts: corporat}
        services:
          nginx: {restart: [/no/nginx]}
          apache: {test: [/no/apache]}
        components:
          web: {artefacts: {combined: /a}, service: nginx}
          shop: {artefacts: {combined: /b}, service: apache}
        channels:
          ops: {urls: ["nothing://h"]}
        """
    )
    found = [line.partition(",")[0] for line in said(path, capsys, code=1)]
    assert found == [
        "warning: FILE:2: trust_stores.corporate.bundle: /no/where.pem: No such file or directory",
        "warning: FILE:6: services.nginx.restart: /no/nginx does not exist here",
        "FILE:4: clients.java.trusts: there is no trust store 'corporat' (did you mean 'corporate'?)",
        "FILE:7: services.apache: given without 'restart'",
        "FILE:12: channels.ops.urls[0]: ops",
    ]


def test_a_way_that_ends_nowhere_is_no_good_way(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        changeable(str(tmp_path / "loop"))
    with pytest.raises(FileNotFoundError):
        changeable(str(tmp_path / "nothing"))


def test_a_command_that_is_not_there_is_said_once_for_all_who_share_it(write: Write, capsys: Capture) -> None:
    path = write(
        """\
        services:
          nginx:
            test: [/no/nginx, -t]
            restart: [/no/systemctl, restart, nginx]
            stop: [/no/systemctl, stop, nginx]
        components:
          web: {artefacts: {combined: /a.pem}, service: nginx}
          shop: {artefacts: {combined: /b.pem}, service: nginx}
        """
    )
    assert said(path, capsys) == lines(
        """
        warning: FILE:3: services.nginx.test: /no/nginx does not exist here, so who may change it is not known
        warning: FILE:4: services.nginx.restart: /no/systemctl does not exist here, so who may change it is not known
        """
    )


@as_root
def test_a_directory_of_the_service_s_own_user_is_named_before_a_transaction_is_refused_there(
    write: Write, tmp_path: Path, capsys: Capture
) -> None:
    """As of PostgreSQL, whose server keeps its certificate in its data directory."""
    own = tmp_path / "data"
    own.mkdir(mode=0o700)
    for each in (own / "server.crt", own / "server.key"):
        each.write_bytes(b"")
        each.chmod(0o600)
        os.chown(each, 65534, 65534)
    os.chown(own, 65534, 65534)
    path = write(
        f"""\
        components:
          db:
            artefacts: {{certificate: {own}/server.crt, key: {own}/server.key}}
            service: {{restart: [/bin/true]}}
          watched:
            artefacts: {{certificate: {own}/other.crt, key: {own}/other.key}}
        """
    )
    warned = [each for each in said(path, capsys) if "artefacts" in each]
    assert ["components.db.artefacts" in each for each in warned] == [True, True]
    for warning, name in zip(warned, ("server.crt", "server.key"), strict=True):
        why = f"{own}/{name}: {own} can be changed by a lesser user, who could"
        assert f"a transaction would be refused: {why}" in warning


@as_root
@pytest.mark.parametrize(("mode", "group", "is_told"), [(0o600, 0, True), (0o640, 1, False), (0o640, 0, True)])
def test_a_file_that_the_daemon_opens_and_its_user_may_not_read_is_named(
    write: Write, capsys: Capture, mode: int, group: int, *, is_told: bool
) -> None:
    """A watched keystore is opened by the daemon itself; those of components by the actor's reader."""
    secret = Path("/var/tmp") / f"certvigil-{os.getpid()}"
    secret.write_text("changeit\n")
    try:
        secret.chmod(mode)
        os.chown(secret, 0, group)
        path = write(
            f"""\
            actor: {{daemon_user: "1"}}
            watch:
              - {{files: [/srv/*.jks], password_file: {secret}}}
              - {{files: [/srv/*.p12], password_files: [{secret}]}}
            endpoints:
              - {{address: "127.0.0.1:1", client_certificate: {secret}, client_key: {secret}}}
            components:
              web:
                artefacts: {{combined: /srv/web.pem}}
                endpoints:
                  - {{address: "127.0.0.1:2", proxy: "http://127.0.0.1:3", proxy_credentials_file: {secret}}}
            """
        )
        why = f"{secret} cannot be read by 1, as whom the daemon opens it: its mode is {mode:04o}"
        warned = [each for each in said(path, capsys) if "as whom the daemon opens it" in each]
        assert [each.partition(f": {why}")[0].split()[-1] for each in warned] == (
            [
                "watch[0].password_file",
                "watch[1].password_files[0]",
                "endpoints[0].client_certificate",
                "endpoints[0].client_key",
                "components.web.endpoints[0].proxy_credentials_file",
            ]
            if is_told
            else []
        )
    finally:
        secret.unlink()


def test_a_switch_of_validation_that_cannot_be_read_is_a_warning(write: Write, tmp_path: Path, capsys: Capture) -> None:
    good = tmp_path / "portal.conf"
    good.write_text("portal.ignore=true\n")
    path = write(
        f"""\
        endpoints: [{{address: "a.example.com:443", clients: [portal, other]}}]
        clients:
          portal:
            trusts: system
            validation_switch: {{file: {good}, key: portal.ignore, disables: "true"}}
          other:
            trusts: system
            validation_switch: {{file: /no/where.conf, key: portal.ignore, disables: "true"}}
          unused:
            trusts: system
            validation_switch: {{file: /no/where.conf, key: portal.ignore, disables: "true"}}
        """
    )
    (line,) = [each for each in said(path, capsys) if "validation_switch" in each]
    assert "clients.other.validation_switch.file: /no/where.conf: No such file or directory" in line
    assert "until it is read, `validates` of the client counts" in line
