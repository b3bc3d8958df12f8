"""`certvigil init`: a configuration that `config check` takes, from the files of the host, over no other file."""

from __future__ import annotations

import os
import pty
import pwd
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from config.load import load
from config.model import Config
from tests.kit.authority import ISSUING, fresh
from tests.kit.daemon import CERTVIGIL, certvigil

FILES = {
    "console": ("console/etc/certificate.pem",),
    "portal": ("nxnginx/ssl/nginx.crt", "nxnginx/ssl/nginx.key"),
    "engine": ("engine/common/etc/certificate.pem", "engine/common/etc/key.pem"),
}
ROLES = {
    "primary": ("console", "portal"),
    "secondary": ("console", "engine"),
    "single": ("console", "engine", "portal"),
}
USER = pwd.getpwuid(os.geteuid()).pw_name
INIT = ("init", "--profile", "nexthink-v6")


def lay_out(directory: Path, role: str) -> Path:
    """Lay out the files of an appliance, and return the directory that stands for its root."""
    issued = fresh()
    for component in ROLES[role]:
        for file in FILES[component]:
            path = directory / "root/var/nexthink" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(issued.key_pem() if "key" in path.name else issued.chain_pem() + issued.key_pem())
            path.chmod(0o600)
    directory.chmod(0o755)
    return directory / "root"


@pytest.mark.parametrize("role", ROLES)
def test_the_files_of_an_appliance_tell_which_it_is(role: str, tmp_path: Path) -> None:
    root, out = lay_out(tmp_path, role), tmp_path / "certvigil.yaml"
    ran = certvigil(*INIT, "--root", str(root), "--set", "external_name=nx.example.com", "--out", str(out))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    for component in ROLES[role]:
        for file in FILES[component]:
            assert f"  {root}/var/nexthink/{file}\n" in ran.stderr
    assert "absent" not in ran.stderr
    config = load(str(out), {})
    assert isinstance(config, Config), config
    assert tuple(sorted(config.components)) == ROLES[role]
    assert config.parameters["external_name"] == "nx.example.com"
    checked = certvigil("config", "check", str(out))
    assert checked.returncode == 0, checked.stderr
    assert out.stat().st_mode & 0o777 == 0o644


def test_what_the_host_does_not_show_is_named_with_the_key_to_set(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "single")
    ran = certvigil(*INIT, "--root", str(root))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == (
        "certvigil init: this host does not tell everything, so give --set external_name=VALUE, perhaps "
        f"www.example.com (a name in {root}/var/nexthink/console/etc/certificate.pem, which belongs to {USER}: "
        "compare it): The DNS name by which browsers, Finders and Collectors connect to this appliance.\n"
    )
    ran = certvigil(
        *INIT, "--root", str(root), "--set", "external_name=a.example", "--set", "collector_ports=8443,8444"
    )
    assert ran.returncode == 0
    lines = ran.stdout.splitlines()
    assert '  collector_ports: ["8443", "8444"]  # given' in lines
    assert "  # finder_port:  # The TCP port at which the Engine answers Finders; not looked at unless given." in lines
    assert any("ldap.example.com:636" in line for line in lines)


@pytest.mark.parametrize(("role", "code"), [("primary", 3), ("secondary", 0), ("single", 0)])
def test_a_parameter_of_some_choices_may_be_given_where_the_host_tells_the_choice(
    role: str, code: int, tmp_path: Path
) -> None:
    root = lay_out(tmp_path, role)
    given = ("--set", "external_name=nx.example.com", "--set", "internal_name=nx.corp.example")
    ran = certvigil(*INIT, "--root", str(root), *given)
    assert ran.returncode == code, ran.stderr
    if code:
        assert "appliance.internal_name: given here, expected only where role is secondary or single" in ran.stderr
    else:
        assert '  internal_name: "nx.corp.example"  # given' in ran.stdout


def test_a_host_that_is_none_of_the_profile_s_is_not_guessed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ran = certvigil(*INIT, "--root", str(tmp_path), "--set", "external_name=nx.example.com")
    assert (ran.returncode, ran.stdout) == (3, "")
    assert (
        "the files of this host do not tell role: give --set role=VALUE, primary or secondary or single" in ran.stderr
    )
    given = (*INIT, "--root", str(tmp_path), "--set", "external_name=nx.example.com", "--set", "role=primary")
    ran = certvigil(*given)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert (
        "none of these files is here: name the right --root, or write it all the same by --without-files" in ran.stderr
    )
    ran = certvigil(*given, "--without-files")
    assert ran.returncode == 0
    assert f"absent   portal/key  {tmp_path}/var/nexthink/nxnginx/ssl/nginx.key" in ran.stderr


@pytest.mark.parametrize("there", ["file", "dangling link", "directory"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    root, out = lay_out(tmp_path, "primary"), tmp_path / "there.yaml"
    match there:
        case "file":
            out.write_text("mine")
        case "directory":
            out.mkdir()
        case _:
            out.symlink_to(tmp_path / "nowhere")
    before = sorted(os.listdir(tmp_path))
    ran = certvigil(*INIT, "--root", str(root), "--set", "external_name=nx.example.com", "--out", str(out))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == f"certvigil init: {out} exists: a configuration is written to a new file\n"
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "nexthink-v7"), "there is no profile 'nexthink-v7'; did you mean 'nexthink-v6'?"),
        (("--profile", "nexthink-v6", "--set", "rolle=primary"), "there is no parameter 'rolle'; did you mean 'role'?"),
        (("--profile", "nexthink-v6", "--set", "role"), "--set role has no value, expected KEY=VALUE"),
        (
            ("--profile", "nexthink-v6", "--set", "role=primary", "--set", "external_name=a b"),
            "appliance.external_name: found 'a b', expected a DNS name or an IP address",
        ),
    ],
)
def test_a_mistake_is_said_and_nothing_is_written(arguments: tuple[str, ...], said: str) -> None:
    ran = certvigil("init", *arguments)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == f"certvigil init: {said}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
@pytest.mark.parametrize(
    ("names", "proposed"),
    [
        (("bad name; rm -rf", "*.example.com", "1.2.3.4", "a" * 64, "evil.example"), "evil.example"),
        (("bad name", "*.example.com"), None),
    ],
)
def test_a_name_is_proposed_with_its_file_and_owner_and_never_one_that_is_none(
    names: tuple[str, ...], proposed: str | None, tmp_path: Path
) -> None:
    root = lay_out(tmp_path, "primary")
    written = ISSUING.issue(*map(x509.DNSName, names), subject="any")
    for each in ("console/etc/certificate.pem", "nxnginx/ssl/nginx.crt"):
        path = root / "var/nexthink" / each
        path.write_bytes(written.pem())
        os.chown(path, 4711, 4711)
    ran = certvigil(*INIT, "--root", str(root))
    whence = f"a name in {root}/var/nexthink/console/etc/certificate.pem, which belongs to user 4711: compare it"
    perhaps = f", perhaps {proposed} ({whence})" if proposed else ""
    assert f"give --set external_name=VALUE{perhaps}: The DNS name" in ran.stderr


def test_on_a_terminal_a_person_is_asked_and_may_take_the_name_of_the_certificate(tmp_path: Path) -> None:
    root, out = lay_out(tmp_path, "primary"), tmp_path / "certvigil.yaml"
    ours, its = pty.openpty()
    command = [*CERTVIGIL, *INIT, "--root", str(root), "--out", str(out)]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        os.write(ours, b"\n")
        assert process.wait(60) == 0
    shown = os.read(ours, 100_000).decode().replace("\r\n", "")
    assert f"a name in {root}/var/nexthink/console/etc/certificate.pem, which belongs to {USER}: compare it" in shown
    os.close(ours)
    config = load(str(out), {})
    assert isinstance(config, Config), config
    assert config.parameters["external_name"] == "www.example.com"
