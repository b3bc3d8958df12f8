"""`certvigil export`: a directory for other machines, in which nothing is ever overwritten and no key lies."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from monitor.lab.ca import Authority
from tests.kit.daemon import certvigil

ROOT = Authority.root("Corporate Root CA")
ISSUING = ROOT.intermediate("Corporate Issuing CA 3")
LEAF = ISSUING.issue("nx.example.com")


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Return the configuration of an appliance with its own CA, whose Portal has a chain."""
    (tmp_path / "corporate.pem").write_bytes(ROOT.pem())
    portal = tmp_path / "root/var/nexthink/nxnginx/ssl"
    portal.mkdir(parents=True)
    (portal / "nginx.crt").write_bytes(LEAF.chain_pem() + ROOT.pem())
    path = tmp_path / "certvigil.yaml"
    path.write_text(
        f"profile: nexthink-v6\n"
        f"appliance: {{role: primary, external_name: nx.example.com, root: {tmp_path}/root}}\n"
        f"trust_stores: {{outsiders: {{bundle: {tmp_path}/corporate.pem}}}}\n"
    )
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    return str(path)


def test_a_kit_has_the_root_the_intermediates_of_a_component_and_the_runbook(config: str, tmp_path: Path) -> None:
    out = tmp_path / "kit"
    ran = certvigil("export", "windows", "outsiders", "--with", "portal", "--out", str(out), "--config", config)
    assert ran.returncode == 0, ran.stderr
    names = {each.name for each in out.iterdir()}
    assert names == {
        *("root.cer", "root.pem", "intermediate.cer", "intermediate.pem"),
        *("install.ps1", "install.cmd", "README.md", "runbook.md"),
    }
    assert (out / "root.cer").read_bytes() == ROOT.der()
    assert (out / "intermediate.cer").read_bytes() == ISSUING.der()
    assert "certlm.msc" in (out / "runbook.md").read_text()
    assert {stat.S_IMODE(each.stat().st_mode) for each in out.iterdir()} == {0o644}
    assert "README.md says how they are used" in ran.stderr


@pytest.mark.parametrize(("machine", "names"), [("windows", "install.ps1"), ("macos", "root.mobileconfig")])
def test_the_runbook_of_a_kit_has_no_path_and_no_address_of_this_host(
    machine: str, names: str, config: str, tmp_path: Path
) -> None:
    out = tmp_path / "kit"
    ran = certvigil("export", machine, "outsiders", "--out", str(out), "--config", config)
    assert ran.returncode == 0, ran.stderr
    text = (out / "runbook.md").read_text()
    assert names in text
    assert "https://nx.example.com" in text
    assert [each for each in ("127.0.0.1", str(tmp_path), "certvigil", "/root/") if each in text] == []


def test_a_second_export_is_the_same_and_another_content_is_never_overwritten(config: str, tmp_path: Path) -> None:
    out = tmp_path / "kit"
    command = ("export", "macos", "outsiders", "--out", str(out), "--config", config)
    assert certvigil(*command).returncode == 0
    before = {each.name: (each.read_bytes(), each.stat().st_ino) for each in out.iterdir()}
    assert certvigil(*command).returncode == 0
    assert {each.name: (each.read_bytes(), each.stat().st_ino) for each in out.iterdir()} == before
    (tmp_path / "corporate.pem").write_bytes(Authority.root("New Root").pem())
    ran = certvigil(*command)
    assert ran.returncode == 3
    assert "is there with another content: name another directory with --out" in ran.stderr
    assert {each.name: (each.read_bytes(), each.stat().st_ino) for each in out.iterdir()} == before


def test_a_link_in_the_directory_leads_no_write_anywhere(config: str, tmp_path: Path) -> None:
    out, victim = tmp_path / "kit", tmp_path / "victim"
    out.mkdir()
    victim.write_bytes(b"precious")
    (out / "root.cer").symlink_to(victim)
    (out / "README.md.new").symlink_to(victim)
    assert certvigil("export", "macos", "outsiders", "--out", str(out), "--config", config).returncode == 3
    os.unlink(out / "root.cer")
    assert certvigil("export", "macos", "outsiders", "--out", str(out), "--config", config).returncode == 0
    assert victim.read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives directories to another user")
def test_nothing_is_written_where_others_could_change_it(config: str, tmp_path: Path) -> None:
    theirs, shared, ours = (tmp_path / each for each in ("theirs", "shared", "ours"))
    for each in (theirs, shared, ours):
        each.mkdir()
    os.chown(theirs, 4711, 4711)
    shared.chmod(0o1777)
    link = tmp_path / "link"
    link.symlink_to(ours)
    os.lchown(link, 4711, 4711)
    for out, why in (
        (theirs, f"{theirs}: belongs to user 4711, expected root"),
        (theirs / "new", f"{theirs}: belongs to user 4711, expected root"),
        (link, f"{link}: belongs to user 4711, expected root"),
        (link / "new", f"{link}: belongs to user 4711, expected root"),
        (shared, f"{shared}: writable by group or others (mode 1777), expected its owner alone"),
    ):
        ran = certvigil("export", "macos", "outsiders", "--out", str(out), "--config", config)
        assert ran.returncode == 3
        assert f"others could change what is written into {out} ({why}): name a directory with --out" in ran.stderr
    assert [*theirs.iterdir(), *ours.iterdir(), *shared.iterdir()] == []
    new = shared / "new" / "deeper"
    assert certvigil("export", "macos", "outsiders", "--out", str(new), "--config", config).returncode == 0
    assert [stat.S_IMODE(each.stat().st_mode) for each in (new, new.parent)] == [0o755, 0o755]
    os.chown(new.parent, 4711, 4711)
    assert certvigil("export", "macos", "outsiders", "--out", str(new), "--config", config).returncode == 3


def test_a_file_is_as_good_as_a_trust_store(config: str, tmp_path: Path) -> None:
    path = tmp_path / "given.crt"
    path.write_bytes(ROOT.der())
    ran = certvigil("export", "macos", str(path), "--out", str(tmp_path / "kit"), "--config", config, "--json")
    document = json.loads(ran.stdout)
    assert [each["subject"] for each in document["certificates"]] == ["CN=Corporate Root CA"]
    assert document["files"] == sorted(each.name for each in (tmp_path / "kit").iterdir())


def test_a_profile_is_signed_by_the_given_key_and_the_key_is_nowhere(config: str, tmp_path: Path) -> None:
    (tmp_path / "signer.pem").write_bytes(LEAF.chain_pem())
    (tmp_path / "signer.key").write_bytes(LEAF.key_pem())
    out = tmp_path / "kit"
    given = ("--sign-certificate", f"{tmp_path}/signer.pem", "--sign-key", f"{tmp_path}/signer.key")
    ran = certvigil("export", "macos", "outsiders", "--out", str(out), "--config", config, *given)
    assert ran.returncode == 0, ran.stderr
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any"]
    files = ["-in", str(out / "root.mobileconfig"), "-CAfile", f"{tmp_path}/corporate.pem"]
    shown = subprocess.run([*command, *files], capture_output=True, check=True).stdout
    assert b"com.apple.security.root" in shown
    for each in out.iterdir():
        assert b"PRIVATE KEY" not in each.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("windows", "outsider"), "there is no trust store 'outsider'; did you mean 'outsiders'?"),
        (("windows", "system"), "the roots of system are those of public CAs, which other machines have already: name"),
        (("windows", "./nothing.crt"), "./nothing.crt: No such file or directory"),
        (("windows", "{0}/leaf.pem"), "there is no root in {0}/leaf.pem: a root is a CA's and self-signed"),
        (("windows", "{0}/empty.pem"), "{0}/empty.pem holds no certificate"),
        (("windows", "outsiders", "--with", "prtal"), "there is no component 'prtal'; did you mean 'portal'?"),
        (("macos", "outsiders", "--sign-key", "{0}/leaf.pem"), "--sign-key and --sign-certificate belong together"),
        (
            ("macos", "outsiders", "--sign-key", "{0}/empty.pem", "--sign-certificate", "{0}/leaf.pem"),
            "{0}/empty.pem: it holds no private key in PEM or DER that can be opened: --password-file opens an",
        ),
        (
            ("macos", "outsiders", "--sign-key", "{0}/other.key", "--sign-certificate", "{0}/leaf.pem"),
            "the key in {0}/other.key is not that of the first certificate in {0}/leaf.pem",
        ),
        (
            ("windows", "outsiders", "--sign-key", "{0}/leaf.key", "--sign-certificate", "{0}/leaf.pem"),
            "only the configuration profile of macOS is signed",
        ),
    ],
)
def test_what_cannot_be_exported_is_said_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, config: str, tmp_path: Path
) -> None:
    (tmp_path / "leaf.pem").write_bytes(LEAF.pem())
    (tmp_path / "leaf.key").write_bytes(LEAF.key_pem())
    (tmp_path / "other.key").write_bytes(Authority.root("Other").key_pem())
    (tmp_path / "empty.pem").write_bytes(b"")
    out = tmp_path / "kit"
    filled = (each.format(tmp_path) for each in arguments)
    ran = certvigil("export", *filled, "--out", str(out), "--config", config)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr.startswith(f"certvigil export: {said.format(tmp_path)}"), ran.stderr
    assert not out.exists()
