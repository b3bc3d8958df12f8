"""The places that a certificate names for those who ask whether it is revoked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from probes.certificate import Certificate


def list_urls(certificate: Certificate) -> tuple[str, ...]:
    """Return the URLs at which a certificate says its revocation list is, of its own issuer; hostile text."""
    return tuple(dict.fromkeys(_points(certificate, x509.CRLDistributionPoints)))


def delta_urls(certificate: Certificate) -> tuple[str, ...]:
    """Return the URLs at which a certificate says its delta list is (RFC 5280, 4.2.1.15); hostile text."""
    return tuple(dict.fromkeys(_points(certificate, x509.FreshestCRL)))


def _points(certificate: Certificate, kind: type[x509.CRLDistributionPoints] | type[x509.FreshestCRL]) -> Iterator[str]:
    try:
        points = certificate.extensions().get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return
    for point in points:
        # The list of another issuer is an indirect one.
        if point.crl_issuer is None:
            for name in point.full_name or ():
                if isinstance(name, x509.UniformResourceIdentifier):
                    yield name.value


def points_of(certificate: Certificate) -> frozenset[str]:
    """Return the names of the distribution points of its own issuer's lists, as `point_names` has them."""
    try:
        points = certificate.extensions().get_extension_for_class(x509.CRLDistributionPoints).value
        issuer = certificate.x509().issuer
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    own = (each for each in points if each.crl_issuer is None)
    return frozenset(name for each in own for name in point_names(each.full_name, each.relative_name, issuer))


def point_names(
    full: Iterable[x509.GeneralName] | None, relative: x509.RelativeDistinguishedName | None, issuer: x509.Name
) -> tuple[str, ...]:
    """Return the URIs and directory names of a distribution point, so that equal ones are equal texts.

    A relative name stands below the issuer's (RFC 5280, 4.2.1.13).
    """
    names = [each.value for each in full or () if isinstance(each, x509.UniformResourceIdentifier)]
    directory = [each.value for each in full or () if isinstance(each, x509.DirectoryName)]
    if relative is not None:
        directory.append(x509.Name([*issuer.rdns, relative]))
    return (*names, *(f"directory {each.public_bytes().hex()}" for each in directory))


def responder_urls(certificate: Certificate) -> tuple[str, ...]:
    """Return the URLs at which a certificate says its CA answers by OCSP (RFC 5280, 4.2.2.1); hostile text."""
    try:
        found = certificate.extensions().get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        dict.fromkeys(
            each.access_location.value
            for each in found
            if each.access_method == AuthorityInformationAccessOID.OCSP
            and isinstance(each.access_location, x509.UniformResourceIdentifier)
        )
    )


def list_file(directory: str, url: str) -> str:
    """Return the path at which the daemon keeps the list that it fetched from `url`, in its state directory.

    It follows from the URL alone, so that whoever reads it takes no name from the daemon.
    """
    return f"{_kept(directory, url)}.crl"


def answer_file(directory: str, key: str) -> str:
    """Return the path at which the daemon keeps the OCSP response with that `answer_key`, as `list_file`."""
    return f"{_kept(directory, key)}.ocsp"


def _kept(directory: str, key: str) -> str:
    return os.path.join(directory, "crls", hashlib.sha256(key.encode()).hexdigest())


def places_of(certificate: Certificate) -> tuple[str, ...]:
    """Return the keys of all sources that a certificate names: URLs of lists, and `answer_key` of responders."""
    return (*list_urls(certificate), *(answer_key(url, certificate) for url in responder_urls(certificate)))


def answer_key(url: str, certificate: Certificate) -> str:
    """Return the key by which what a responder says of one certificate is known."""
    return f"{url} {certificate.sha256}"
