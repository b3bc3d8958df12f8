"""Whether a certificate names a server (RFC 9525), by service-identity."""

from __future__ import annotations

from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from config.address import is_ip_address
from probes.certificate import Certificate


def names_server(certificate: Certificate, name: str) -> bool:
    """Whether one of the subject alternative names covers `name`; the common name never counts (RFC 9525, 2)."""
    verify = verify_certificate_ip_address if is_ip_address(name) else verify_certificate_hostname
    try:
        verify(certificate.x509(), name)
    except Exception:  # noqa: BLE001 (beside saying no: extensions that cannot be decoded raise a dozen kinds)
        return False
    return True
