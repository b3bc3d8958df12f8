"""New files for a person."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from actions.csr import new_key, signed_request
from config.vocabulary import RequestKey
from monitor.commands.new_file import why_not_new, write_new_file
from tests.kit.daemon import certvigil


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_new_file_is_whole_and_for_all_to_read(umask: int, tmp_path: Path) -> None:
    path, before = tmp_path / "new.pem", os.umask(umask)
    try:
        write_new_file(str(path), b"content")
    finally:
        os.umask(before)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"content", 0o644)
    assert os.listdir(tmp_path) == ["new.pem"]


@pytest.mark.parametrize("there", ["file", "dangling link", "directory"])
def test_nothing_that_is_there_is_written_over(there: str, tmp_path: Path) -> None:
    path = tmp_path / "there"
    match there:
        case "file":
            path.write_bytes(b"mine")
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "nowhere")
    before = path.lstat()
    with pytest.raises(FileExistsError) as raised:
        write_new_file(str(path), b"content")
    assert raised.value.filename == str(path)
    assert (path.lstat().st_ino, path.lstat().st_size) == (before.st_ino, before.st_size)
    assert os.listdir(tmp_path) == ["there"]


def test_nothing_half_is_left(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_new_file(str(tmp_path / "new.pem"), b"content")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


ANY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example.com")])
COMPONENT = """
components:
  web:
    artefacts: {certificate: /nowhere/web.crt, key: /nowhere/web.key}
    endpoints: [{address: "127.0.0.1:9", server_name: a.example.com}]
    service: {unit: web}
"""
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="a directory is given to another user")


@ROOT_ONLY
@pytest.mark.parametrize(
    ("uid", "mode", "why"),
    [
        (0, 0o755, None),
        (0, 0o1777, None),
        (0, 0o777, "writable by group or others (mode 0777), expected its owner alone"),
        (65534, 0o755, "belongs to user 65534, expected root"),
    ],
)
def test_root_writes_no_new_file_where_others_could_change_it(
    uid: int, mode: int, why: str | None, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "below").mkdir(parents=True)
    os.chown(theirs, uid, -1)
    theirs.chmod(mode)
    instead = "write it where nobody but root can, or to standard output"
    said = why and f"others could change a request there ({theirs}: {why}): {instead}"
    for directory in (theirs, theirs / "below"):
        assert why_not_new(str(directory / "new.csr"), "a request") == said


@ROOT_ONLY
@pytest.mark.parametrize(
    "command",
    [
        "csr web --out {}/new",
        "ca sign {}/../request --ca {}/../ca --out {}/new",
        "ca init {}/new --name Another",
        "init --profile nexthink-v6 --set role=primary --set external_name=nx.example.com --out {}/new",
        "trust export corporate --out {}/new",
        "export windows corporate --out {}/new",
        "config units --out {}",
    ],
)
def test_each_command_that_writes_a_new_file_asks_whose_directory_it_is(command: str, tmp_path: Path) -> None:
    theirs, config = tmp_path / "theirs", tmp_path / "certvigil.yaml"
    theirs.mkdir()
    os.chown(theirs, 65534, -1)
    assert certvigil("ca", "init", str(tmp_path / "ca"), "--name", "Ours").returncode == 0
    (root,) = (tmp_path / "ca").glob("*.crt")
    (tmp_path / "request").write_text(signed_request(new_key(RequestKey.P256), ("a.example.com",), ANY))
    config.write_text(f"trust_stores: {{corporate: {{bundle: {root}}}}}\n{COMPONENT}")
    words = command.format(*[theirs] * command.count("{}")).split()
    given = () if words[0] in {"ca", "init"} else ("--config", str(config))
    ran = certvigil(*words, *given)
    assert ran.returncode != 0
    assert "others could" in ran.stderr
    assert f"{theirs}: belongs to user 65534, expected root" in ran.stderr
    assert os.listdir(theirs) == []
