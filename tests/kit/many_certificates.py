"""Very many certificates for a trust store, made of one by its bytes: nobody verifies the signature of an anchor."""

from __future__ import annotations

import ssl

from monitor.lab.ca import Authority

_PLACE = "Number 000000"


def many(number: int, *, one_name: bool = False) -> list[bytes]:
    """Return that many different certificates of CAs, in DER, all of one subject or each of its own."""
    der = Authority.root(_PLACE).der()
    serial = der.index(b"\x02\x14") + 2 if b"\x02\x14" in der[:20] else der.index(b"\x02", 8) + 2
    made = []
    for each in range(number):
        # The serial number stays positive, and as long as it is.
        new = der[: serial + 2] + each.to_bytes(4) + der[serial + 6 :]
        made.append(new if one_name else new.replace(_PLACE.encode(), f"Number {each:06}".encode()))
    return made


def pem(ders: list[bytes]) -> bytes:
    """Return a bundle of these."""
    return "".join(map(ssl.DER_cert_to_PEM_cert, ders)).encode()
