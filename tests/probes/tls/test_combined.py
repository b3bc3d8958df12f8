"""A look with all at once: STARTTLS behind a proxy for users, with a client certificate and a staple."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.model import ClientCertificate, Endpoint
from config.vocabulary import ClientCertificateUse, EndpointProtocol, KeyKind, ProxyKind, TLSVersion
from monitor.lab.ca import Authority
from monitor.lab.servers import Site, write_site
from probes.ocsp import OCSPAnswer, OCSPStatus, staple_of
from tests.kit.asking_servers import AskingHAProxy, Asks, ocsp_response
from tests.kit.drivers import DRIVERS, by_uvloop
from tests.kit.proxies import for_users
from tests.kit.starttls_front import SMTPFront
from tests.kit.starttls_servers import DOMAIN, Vsftpd


def client_certificate(directory: Path, issuer: Authority) -> ClientCertificate:
    issued = issuer.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])
    site = write_site(str(directory), issued, stem="client")
    return ClientCertificate(site.certificate, site.key)


@pytest.mark.server("haproxy")
@pytest.mark.server("tinyproxy")
@pytest.mark.parametrize("version", [TLSVersion.TLS1_2, TLSVersion.TLS1_3])
def test_starttls_through_a_proxy_with_a_client_certificate_and_a_staple(
    tmp_path: Path, issuing_ca: Authority, root_ca: Authority, cleanup: ExitStack, version: TLSVersion
) -> None:
    leaf = issuing_ca.issue(DOMAIN)
    combined, ca_file = tmp_path / "site.pem", tmp_path / "clients.pem"
    combined.write_bytes(leaf.key_pem() + leaf.chain_pem())
    (tmp_path / "site.pem.ocsp").write_bytes(ocsp_response(leaf, issuing_ca))
    ca_file.write_bytes(issuing_ca.pem() + root_ca.pem())
    site = Site(str(combined), str(combined))
    server = cleanup.enter_context(AskingHAProxy(str(tmp_path / "haproxy"), [site], str(ca_file)))
    front = cleanup.enter_context(SMTPFront(server.at[Asks.STRICTLY, version]))
    endpoint = Endpoint(
        "mail",
        front.host,
        front.port,
        DOMAIN,
        protocol=EndpointProtocol.SMTP,
        proxy=cleanup.enter_context(for_users(ProxyKind.HTTP, tmp_path)),
        client_certificate=client_certificate(tmp_path, issuing_ca),
        key_types=(KeyKind.EC,),
        source_address="127.0.0.9",
    )
    for by in DRIVERS:
        seen = by(endpoint)
        assert seen.failures == ()
        (presented,) = seen.presented
        assert [each.der for each in presented.chain] == [each.der() for each in leaf.chain]
        assert (presented.version, presented.client_certificate) == (version, ClientCertificateUse.ACCEPTED)
        staple = staple_of(presented)
        assert isinstance(staple, OCSPAnswer)
        assert (staple.status, staple.signer) == (OCSPStatus.GOOD, presented.chain[1])


class AskingVsftpd(Vsftpd):
    """vsftpd, which speaks TLS with nobody who has no certificate of a CA in the file `clients_ca`."""

    clients_ca = ""

    def _config(self) -> str:
        return f"{super()._config()}require_cert=YES\nvalidate_cert=YES\nca_certs_file={self.clients_ca}\n"


@pytest.mark.skipif(os.getuid() != 0, reason="vsftpd is started by root")
@pytest.mark.server("vsftpd")
@pytest.mark.server("microsocks")
def test_an_ftp_server_that_requires_a_client_certificate_is_seen_through_a_proxy(
    tmp_path: Path, issuing_ca: Authority, root_ca: Authority, cleanup: ExitStack
) -> None:
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    leaf = issuing_ca.issue(DOMAIN)
    server = AskingVsftpd(f"{directory}/server", [write_site(directory, leaf)])
    server.clients_ca = f"{directory}/clients.pem"
    Path(server.clients_ca).write_bytes(issuing_ca.pem() + root_ca.pem())
    cleanup.enter_context(server)
    proxy = cleanup.enter_context(for_users(ProxyKind.SOCKS5, tmp_path))
    shown = client_certificate(tmp_path, issuing_ca)
    for own, use in ((shown, ClientCertificateUse.ACCEPTED), (None, ClientCertificateUse.REQUIRED)):
        seen = by_uvloop(
            Endpoint(
                *("ftp", server.host, server.port, DOMAIN),
                protocol=EndpointProtocol.FTP,
                proxy=proxy,
                client_certificate=own,
            )
        )
        assert seen.failures == ()
        (presented,) = seen.presented
        assert (presented.chain[0].der, presented.client_certificate) == (leaf.der(), use)
