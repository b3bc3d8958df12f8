"""Certificates and files whose text is hostile wherever there may be text."""

from __future__ import annotations

import time

from cryptography import x509

from monitor.lab.ca import DAY, HOSTILE_TEXT, Authority, Issued, KeyType

NAME = "www.example.com"
FILES = (
    b"new\nline.pem",
    b"\x1b[31mescape.pem",
    b"\x1b]0;title\x07.pem",
    b"not\xff\xfeutf-8.pem",
    b"quote\"'`$(id)\\.pem",
    b"<script>alert(1)<\\script>.pem",
    "bidi\u202e\u2066.pem".encode(),
    b"tab\tand return\r.pem",
    b"{}%s.pem",
)


def hostile() -> Issued:
    """Return a certificate with hostile text wherever there may be text; it has expired, so that much is said of it."""
    ascii_only = HOSTILE_TEXT.encode("ascii", "ignore").decode()
    issuer, now = Authority.root(HOSTILE_TEXT), time.time()
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, HOSTILE_TEXT)])
    names = (x509.DNSName(ascii_only), x509.RFC822Name(f"{ascii_only}@example.com"), x509.DirectoryName(name))
    return issuer.issue(
        NAME, *names, subject=HOSTILE_TEXT, not_before=now - 90 * DAY, not_after=now - DAY, key=KeyType.P256
    )
