"""Private keys that a pattern finds: who can read them is said, and a key that is kept well is nobody's news."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.model import FileTarget
from config.vocabulary import Code, FileRole, Severity
from probes.assess import FileContext, assess_file, is_worth_watching
from probes.file import look_at_file
from tests.kit.authority import ISSUING, NAME
from tests.kit.keystore import PASSWORD, keystore

NOW = time.time()
LEAF = ISSUING.issue(NAME)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Return a directory that everybody may enter."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def exposed(directory: Path, data: bytes, mode: int, password: bytes | None = None) -> tuple[bool, list[str]]:
    """Return whether a file that a pattern finds is a target, and what is said of who may read its key."""
    path, secret = directory / "file", directory / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    secret.write_bytes(password or b"")
    target = FileTarget("file", str(path), FileRole.FOUND, password_files=(str(secret),) if password else ())
    seen, context = look_at_file(target, NOW), FileContext(target)
    findings = assess_file(seen, context, NOW).findings
    return is_worth_watching(seen, context), [each.detail for each in findings if each.code is Code.KEY_EXPOSED]


SAID = "the file holds a private key of user 0 and has mode {}; at most 0640 is safe"


@pytest.mark.parametrize(("mode", "said"), [(0o644, ["0644"]), (0o660, ["0660"]), (0o640, []), (0o600, [])])
def test_a_key_that_others_may_read_or_replace_is_a_target_and_another_is_none(
    open_directory: Path, mode: int, said: list[str]
) -> None:
    told = [SAID.format(each) for each in said]
    assert exposed(open_directory, LEAF.key_pem(), mode) == (bool(said), told)
    assert exposed(open_directory, LEAF.pem() + LEAF.key_pem(), mode) == (True, told)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    ("owner", "above", "told"),
    [(1000, 0, True), (1000, 1000, False), (0, 0, False), (33, 0, False), (61_184, 0, False)],
)
def test_a_key_that_a_person_has_brought_into_a_directory_of_root_is_still_hers(
    open_directory: Path, owner: int, above: int, *, told: bool
) -> None:
    """A move keeps the owner; the key of a service may be its user's."""
    inside, path = open_directory / "in", open_directory / "in" / "file"
    inside.mkdir()
    path.write_bytes(LEAF.key_pem())
    os.chown(path, owner, owner)
    os.chown(inside, above, above)
    path.chmod(0o640)
    target = FileTarget("file", str(path), FileRole.FOUND)
    seen, context = look_at_file(target, NOW), FileContext(target)
    findings = assess_file(seen, context, NOW).findings
    assert [(each.code, each.severity) for each in findings] == [(Code.KEY_EXPOSED, Severity.NOTICE)] * told
    assert is_worth_watching(seen, context) is told


def test_a_key_in_a_directory_that_nobody_else_may_enter_is_read_by_nobody_else(open_directory: Path) -> None:
    """As certbot keeps its keys."""
    inside = open_directory / "private" / "live"
    inside.mkdir(parents=True)
    assert exposed(inside, LEAF.key_pem(), 0o644)[0]
    inside.parent.chmod(0o700)
    assert exposed(inside, LEAF.key_pem(), 0o644) == (False, [])
    assert exposed(inside, LEAF.pem() + LEAF.key_pem(), 0o644) == (True, [])
    link = open_directory / "link"
    link.symlink_to(inside)
    assert exposed(link, LEAF.key_pem(), 0o644) == (False, [])


@pytest.mark.parametrize(
    ("password", "told"), [(PASSWORD, []), (b"changeit", [SAID.format("0644")]), (None, [SAID.format("0644")])]
)
def test_a_keystore_under_a_password_of_its_own_may_be_read_by_all(
    open_directory: Path, password: bytes | None, told: list[str]
) -> None:
    assert exposed(open_directory, keystore(LEAF, password), 0o644, password) == (True, told)


def test_a_certificate_beside_nothing_secret_may_be_read_by_all(open_directory: Path) -> None:
    assert exposed(open_directory, LEAF.pem(), 0o644) == (True, [])
