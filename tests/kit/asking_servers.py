"""HAProxy at several ports, which asks for certificates of clients in all ways, and staples an OCSP response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from config.vocabulary import TLSVersion
from monitor.lab.ca import Authority, Issued
from monitor.lab.process import free_address
from monitor.lab.servers import Site
from tests.kit.packaged_servers import HAProxy


class Asks(Enum):
    """How a port asks for a certificate of the client, as HAProxy calls it."""

    NOT = "none"
    OPTIONALLY = "optional"
    STRICTLY = "required"


class AskingHAProxy(HAProxy):
    """Has a port for each way to ask and each version, and one that expects a header of the PROXY protocol, too."""

    def __init__(self, directory: str, sites: Sequence[Site], clients_ca: str) -> None:
        """Trust the certificates of clients that were issued by a CA in the file `clients_ca`."""
        super().__init__(directory, sites)
        self.clients_ca = clients_ca
        self.at: Mapping[tuple[Asks, TLSVersion], tuple[str, int]] = {
            (asks, version): free_address() for asks in Asks for version in (TLSVersion.TLS1_2, TLSVersion.TLS1_3)
        }
        self.behind_balancer = free_address()

    def _config(self) -> str:
        lines = [
            self._bind(address, f"verify {asks.value} ssl-min-ver {version} ssl-max-ver {version}")
            for (asks, version), address in self.at.items()
        ]
        lines.append(self._bind(self.behind_balancer, "verify required accept-proxy"))
        return super()._config() + "".join(lines)

    def _bind(self, address: tuple[str, int], how: str) -> str:
        host, port = address
        return f"    bind {host}:{port} ssl crt {self.sites[0].certificate} ca-file {self.clients_ca} {how}\n"


def ocsp_response(
    about: Issued,
    issuer: Authority,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    signer: Issued | None = None,
) -> bytes:
    """Return a response as of now, good for a day, signed by `issuer` or by a `signer`."""
    now, signer = datetime.now(UTC), signer or issuer
    revoked = now if status is ocsp.OCSPCertStatus.REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        *(about.certificate, issuer.certificate, hashes.SHA1(), status, now, now + timedelta(days=1), revoked, None)
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)
