"""Every certificate, keystore, CRL, OCSP response and key that two projects keep for their tests goes through."""

from __future__ import annotations

import sysconfig
import time
from collections import Counter
from pathlib import Path

import cryptography_vectors
import pytest

from config.model import FileTarget
from config.vocabulary import FileFormat, FileRole
from probes.assess import FileContext, assess_file
from probes.file import look_at_file
from tests.kit.tenth import drawn

pytestmark = [
    pytest.mark.filterwarnings("ignore:PKCS#.* could not be parsed as DER:UserWarning"),
    pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite:cryptography.utils.CryptographyDeprecationWarning"),
]

VECTORS = Path(cryptography_vectors.__file__).parent
PYTHON = Path(sysconfig.get_path("stdlib")) / "test" / "certdata"
NOW = 1_800_000_000.0
NOT_OF_US = {".eml", ".cp", ".rsp", ".txt", ".py", ".sh", ".fax", ".schema", ".ldif", ".pyc"}
"""Messages and lists of numbers."""
SECONDS = 1.0
"""Of processor time for one file, far more than any takes."""


def look_at_all(files: list[Path], secrets: tuple[str, ...]) -> Counter[FileFormat]:
    """Return how many files of each format there are; each is looked at, and judged, without an exception."""
    formats: Counter[FileFormat] = Counter()
    for path in files:
        begun = time.process_time()
        role = FileRole.LISTED if secrets else FileRole.FOUND
        target = FileTarget("file", str(path), role, password_files=secrets)
        seen = look_at_file(target, NOW, with_keys=True)
        for found in assess_file(seen, FileContext(target), NOW).findings:
            assert (found.detail + found.subject).isprintable()
        formats[seen.format] += 1
        assert time.process_time() - begun < SECONDS, path
    return formats


def files_below(*directories: Path) -> list[Path]:
    found = (path for each in directories for path in each.rglob("*"))
    return sorted(path for path in found if path.is_file() and path.suffix not in NOT_OF_US)


@pytest.mark.parametrize("folder", ["x509", "pkcs12", "pkcs7", "asymmetric"])
def test_the_files_of_cryptography_go_through(folder: str, tmp_path: Path) -> None:
    secrets = []
    for word in ("cryptography", "password"):
        secrets.append(str(tmp_path / word))
        (tmp_path / word).write_text(word)
    files = files_below(VECTORS / folder)
    if folder == "x509":
        # A process of its own is begun for each try at one of the 405 keystores of NIST, which are all alike.
        files = [each for each in files if each.suffix != ".p12" or drawn("NIST", each.name)]
    formats = look_at_all(files, tuple(secrets if folder == "pkcs12" else ()))
    expected = {
        "x509": {FileFormat.PEM, FileFormat.DER, FileFormat.CRL, FileFormat.OCSP_RESPONSE, FileFormat.REQUEST},
        "pkcs12": {FileFormat.PKCS12},
        "pkcs7": {FileFormat.PKCS7},
        "asymmetric": {FileFormat.PRIVATE_KEY, FileFormat.PUBLIC_KEY, FileFormat.OPENSSH_KEY},
    }
    assert expected[folder] <= formats.keys()


def test_a_keystore_of_nist_is_opened_by_its_password(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password")
    one = VECTORS / "x509" / "PKITS_data" / "pkcs12" / "ValidCertificatePathTest1EE.p12"
    target = FileTarget("file", str(one), FileRole.LISTED, password_files=(str(tmp_path / "secret"),))
    seen = look_at_file(target, NOW, with_keys=True)
    assert (seen.failure, seen.format, len(seen.certificates), len(seen.keys)) == (None, FileFormat.PKCS12, 1, 1)


def test_the_certificates_of_python_s_own_tests_go_through() -> None:
    if not PYTHON.is_dir():
        pytest.skip("this Python comes without its tests")
    assert look_at_all(files_below(PYTHON), ())[FileFormat.PEM] > 5
