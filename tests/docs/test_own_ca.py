"""The lines of the documents that make a CA with OpenSSL make certificates that every verifier accepts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kit.daemon import certvigil

DOCUMENT = Path(__file__).parents[2] / "docs/requests.md"
REQUEST = (
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout web.key -out web.csr "
    "-subj /CN=web.example.com -addext subjectAltName=DNS:web.example.com"
)


def test_what_openssl_signs_as_the_documents_say_is_accepted_by_webpki(tmp_path: Path) -> None:
    text = DOCUMENT.read_text()
    (block,) = (each for each in text.split("```") if each.startswith("sh\nopenssl req -x509"))
    lines = [each for each in block.splitlines()[1:] if not each.startswith("certvigil")]
    subprocess.run(["sh", "-ec", "\n".join([REQUEST, *lines])], cwd=tmp_path, check=True, capture_output=True)
    ran = certvigil(
        *("check", str(tmp_path / "web.crt"), "--name", "web.example.com"),
        *("--ca-file", str(tmp_path / "ca.crt"), "--verifier", "webpki"),
    )
    assert ran.returncode == 0, ran.stdout
