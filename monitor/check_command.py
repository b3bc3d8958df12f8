"""The arguments by which `certvigil check` looks at an endpoint as the configuration does.

Every text that names this command for an endpoint takes it from here: without the protocol, the name or the way through
a proxy, the command would look at something else. `monitor.commands.given` reads the address back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from config.address import join_address
from config.model import Endpoint, PemBundle, TrustSource
from config.vocabulary import AddressChoice, EndpointProtocol, VerifierName

_TIMEOUT: Final = 10.0
"""Seconds for which `check` waits where it is not told."""
_FAMILY: Final = {AddressChoice.IPV4: "-4", AddressChoice.IPV6: "-6"}


def check_words(endpoint: Endpoint, name: str | None = None) -> tuple[str, ...]:
    """Return the words after `certvigil`.

    `name` is the name to verify, and to ask for; by default the server name, where the endpoint has one.
    """
    return tuple(_words(endpoint, name or endpoint.server_name))


def judging_words(source: TrustSource, verifier: VerifierName) -> tuple[str, ...]:
    """Return the further words by which `check` judges as a client with that trust store and those rules does.

    Only PEM files are given: `check` takes no other.
    """
    trusts = ("--ca-file", source.path) if isinstance(source, PemBundle) else ()
    return (*trusts, *(("--verifier", str(verifier)) if verifier is not VerifierName.OPENSSL else ()))


def _words(endpoint: Endpoint, name: str | None) -> Iterator[str]:
    # Of each other protocol, `check` has a scheme of its name.
    scheme = "" if endpoint.protocol is EndpointProtocol.TLS else f"{endpoint.protocol}://"
    yield from ("check", f"{scheme}{join_address(endpoint.host, endpoint.port)}")
    proxy, own = endpoint.proxy, endpoint.client_certificate
    options = {
        "--name": name,
        "--key-type": endpoint.key_type,
        "--client-certificate": own and own.certificate,
        "--client-key": own.key if own is not None and own.key != own.certificate else None,
        "--proxy": proxy and proxy.url,
        "--proxy-credentials-file": proxy and proxy.credentials_file,
        "--proxy-protocol": endpoint.proxy_protocol,
        "--timeout": f"{endpoint.timeout:g}" if endpoint.timeout > _TIMEOUT else None,
    }
    for option, value in options.items():
        if value is not None:
            yield from (option, str(value))
    if endpoint.addresses in _FAMILY:
        yield _FAMILY[endpoint.addresses]
    if not endpoint.sni:
        yield "--no-sni"
