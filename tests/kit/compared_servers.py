"""Servers and faults that certvigil and other programs are compared at: a row each, which says how it is started."""

from __future__ import annotations

import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.vocabulary import EndpointProtocol, TLSVersion
from monitor.lab.ca import DAY, HOSTILE_TEXT, UNKNOWN_CRITICAL, Authority, Issued, KeyType, bundle, self_signed
from monitor.lab.process import ServerProcess, accepts, free_address
from monitor.lab.servers import LocalServer, Nginx, Site, TLSSettings, write_site
from probes.encoding import encoded
from tests.kit.asking_servers import AskingHAProxy, Asks
from tests.kit.odd_certificates import ODDITIES, Oddity, ends, odd_certificate
from tests.kit.packaged_servers import CATALINA, Tomcat
from tests.kit.peers import HELLO, HOLD, RESET, Behaviour, HostilePeer, playing
from tests.kit.responder import answer
from tests.kit.starttls_servers import DOMAIN, EXIM, Exim, server_of

P = EndpointProtocol
Address = tuple[str, int]
Served = AbstractContextManager[Address]

ROOT: Final = Authority.root("Compared Root")
ISSUING: Final = ROOT.intermediate("Compared Issuing")
RSA_ISSUING: Final = ROOT.intermediate("Compared RSA Issuing", key=KeyType.RSA2048)
STRANGER: Final = Authority.root("Another Root")
_TLS: Final = TLSSettings()
NOW: Final = time.time()
_NEW: Final = (TLSVersion.TLS1_2, TLSVersion.TLS1_3)


@dataclass
class Ground:
    """Where the servers of the rows have their files: every user may enter."""

    directory: str
    _number: Iterator[int]

    @property
    def roots(self) -> str:
        """The file with the root that the clients trust."""
        return os.path.join(self.directory, "root.pem")

    def place(self) -> str:
        """Return the path of a directory that is not there yet."""
        return os.path.join(self.directory, str(next(self._number)))


@contextmanager
def ground() -> Iterator[Ground]:
    """Give a place for servers that become users without rights, and the client's root."""
    # Not pytest's, which is closed to such users.
    with TemporaryDirectory(prefix="cv-") as directory:
        os.chmod(directory, 0o755)
        made = Ground(directory, count())
        Path(made.roots).write_bytes(ROOT.pem())
        yield made


@dataclass(frozen=True, slots=True)
class Row:
    """One server, or one fault, and how it is looked at."""

    serve: Callable[[Ground], Served]
    protocol: EndpointProtocol = P.TLS
    words: tuple[str, ...] = ()
    """Further words of `certvigil check`, and those of s_client that mean the same."""
    s_client: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    """That must be installed."""
    hangs: bool = False
    """Nobody gets an answer: whoever looks waits for as long as he may."""


Chain = Callable[[], Sequence[Issued]]
"""Makes certificates, as they are presented."""


def _presents(chain: Chain, tls: TLSSettings = _TLS) -> Row:
    """Have a server present a chain as it is; the key is that of the first certificate."""

    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place, certificates = on.place(), chain()
        os.makedirs(place)
        site = Site(f"{place}/chain.pem", f"{place}/key.pem")
        Path(site.certificate).write_bytes(bundle(certificates))
        Path(site.key).write_bytes(certificates[0].key_pem())
        with LocalServer([site], tls) as server:
            yield server.host, server.port

    return Row(serve)


def _leaf(*names: str, issuing: Callable[[], Authority] = lambda: ISSUING, **knobs: object) -> Chain:
    """Return the chain of a certificate for `names`."""
    return lambda: issuing().issue(*(names or (DOMAIN,)), **knobs).chain  # type: ignore[arg-type]


def _odd(oddity: Oddity) -> Chain:
    return lambda: odd_certificate(ISSUING, oddity, DOMAIN).chain


class _OneGroup(LocalServer):
    """A server that takes one group alone, or Diffie-Hellman without curves."""

    curve = ""
    dh_parameters = ""

    def _context(self, site: Site) -> ssl.SSLContext:
        context = super()._context(site)
        if self.curve:
            context.set_ecdh_curve(self.curve)
        if self.dh_parameters:
            context.load_dh_params(self.dh_parameters)
        return context


def _takes(
    ciphers: str,
    *,
    key: KeyType = KeyType.RSA2048,
    curve: str = "",
    dhe: bool = False,
    maximum: TLSVersion | None = None,
) -> Row:
    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        site = write_site(place, ISSUING.issue(DOMAIN, key=key))
        server = _OneGroup([site], TLSSettings(ciphers=ciphers, maximum=maximum or TLSVersion.TLS1_3))
        server.curve = curve
        if dhe:
            server.dh_parameters = f"{place}/dh.pem"
            made = ("openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out")
            subprocess.run((*made, server.dh_parameters), check=True, capture_output=True)
        with server:
            yield server.host, server.port

    return Row(serve)


def _only(version: TLSVersion) -> Row:
    return _presents(_leaf(), TLSSettings(version, version))


def _by_name(*, sni: bool) -> Row:
    """Have a server present one certificate to those who ask for the name, and another one to everybody else."""

    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        sites = [
            write_site(place, ISSUING.issue(DOMAIN), name=DOMAIN, stem="asked"),
            write_site(place, ISSUING.issue("default.example.com"), stem="default"),
        ]
        with LocalServer(sites) as server:
            yield server.host, server.port

    return Row(serve) if sni else Row(serve, words=("--no-sni",), s_client=("-noservername",))


_RSA_SCHEMES: Final = "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
_EC_SCHEMES: Final = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512"


def _two_keys(kind: str = "") -> Row:
    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        pair = [
            write_site(place, ISSUING.issue(DOMAIN, key=each), stem=each) for each in (KeyType.RSA2048, KeyType.P256)
        ]
        with Nginx(place, pair) as server:
            yield server.host, server.port

    schemes = {"rsa": _RSA_SCHEMES, "ec": _EC_SCHEMES}.get(kind)
    return Row(
        serve,
        words=("--key-type", kind) if kind else (),
        s_client=("-sigalgs", schemes) if schemes else (),
        programs=("nginx",),
    )


def _asks(asks: Asks, version: TLSVersion) -> Row:
    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        os.makedirs(place)
        leaf = ISSUING.issue(DOMAIN)
        combined = f"{place}/site.pem"
        Path(combined).write_bytes(leaf.key_pem() + leaf.chain_pem())
        with AskingHAProxy(f"{place}/haproxy", [Site(combined, combined)], on.roots) as server:
            yield server.at[asks, version]

    return Row(serve, programs=("haproxy",))


def _staples(revoked: bool = False, *, stale: bool = False, by: Authority = ISSUING) -> Row:
    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        leaf = ISSUING.issue(DOMAIN)
        site, now = write_site(place, leaf), time.time()
        said = answer(by, leaf, now - 9 * DAY if stale else now, now - DAY if revoked else None)
        Path(f"{place}/staple").write_bytes(said)
        Path(f"{place}/above.pem").write_bytes(bundle(leaf.chain[1:]))
        host, port = free_address()
        command = (
            *("openssl", "s_server", "-accept", f"{host}:{port}", "-cert", site.certificate, "-key", site.key),
            *("-cert_chain", f"{place}/above.pem", "-status_file", f"{place}/staple", "-quiet", "-www"),
        )
        process = ServerProcess(command, f"{place}/log")
        try:
            process.wait_until(lambda: accepts(host, port), "listening")
            yield host, port
        finally:
            process.stop()

    return Row(serve)


def _peer(behaviour: Behaviour, *, hangs: bool = False) -> Row:
    @contextmanager
    def serve(_: Ground) -> Iterator[Address]:
        with HostilePeer(behaviour) as peer:
            yield peer.host, peer.port

    return Row(serve, hangs=hangs)


def _plays(*steps: bytes, protocol: EndpointProtocol = P.TLS, hangs: bool = False) -> Row:
    return Row(lambda _: playing(steps), protocol, hangs=hangs)


def _speaks(protocol: EndpointProtocol, program: str) -> Row:
    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        site = write_site(place, ISSUING.issue(DOMAIN))
        with server_of(protocol, f"{place}/server", site) as server:
            yield server.host, server.port

    return Row(serve, protocol, programs=(program,))


def _exim() -> Row:
    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        with Exim(f"{place}/server", [write_site(place, ISSUING.issue(DOMAIN))]) as server:
            yield server.host, server.port

    return Row(serve, P.SMTP, programs=(EXIM,))


def _tomcat() -> Row:
    @contextmanager
    def serve(on: Ground) -> Iterator[Address]:
        place = on.place()
        with Tomcat(f"{place}/server", [write_site(place, ISSUING.issue(DOMAIN))]) as server:
            yield server.host, server.port

    return Row(serve, programs=(CATALINA,))


_PART: Final = bytes.fromhex("160303003a020000360303") + bytes(9)
_SMTP: Final = (b"220 it ESMTP\r\n", HELLO, b"250-it\r\n250 STARTTLS\r\n", HELLO)
_OID: Final = x509.ObjectIdentifier("1.3.6.1.4.1.55555.2")


def _megabyte() -> Sequence[Issued]:
    value = x509.UnrecognizedExtension(_OID, bytes(65_000))
    fat = ROOT.intermediate("Fat", extensions=[x509.Extension(_OID, critical=False, value=value)])
    return (*ISSUING.issue(DOMAIN).chain, *[fat] * 16)


def _two_levels(*order: int) -> Chain:
    """Return a leaf, the CA that issued it, and the CA above, as they are numbered."""

    def made() -> Sequence[Issued]:
        chain = ISSUING.intermediate("Compared Lower").issue(DOMAIN).chain
        return [chain[each] for each in order]

    return made


def _beside(*others: Authority) -> Chain:
    return lambda: (ISSUING.issue(DOMAIN), *others)


_BACKWARDS: Final = Oddity(ends(encoded(0x17, b"190101000000Z")), "")

_CHAINS: Final[Mapping[str, Chain]] = {
    "as it should be": _leaf(),
    "RSA 2048": _leaf(issuing=lambda: RSA_ISSUING, key=KeyType.RSA2048),
    "P-384": _leaf(key=KeyType.P384),
    "Ed25519": _leaf(key=KeyType.ED25519),
    "RSA 1024": _leaf(key=KeyType.RSA1024),
    "SHA-1": _leaf(issuing=lambda: RSA_ISSUING, signature_hash="sha1"),
    "expired": _leaf(not_before=NOW - 90 * DAY, not_after=NOW - DAY),
    "not yet valid": _leaf(not_before=NOW + DAY),
    "ends before it begins": _odd(_BACKWARDS),
    "ends in the year 9999": _leaf(not_after=253_402_300_799.0),
    "another name": _leaf("www.example.net"),
    "a wildcard": _leaf("*.example.com"),
    "a common name alone": lambda: ISSUING.issue(subject=DOMAIN).chain,
    "self-signed": lambda: (self_signed(DOMAIN),),
    "of a root that nobody trusts": _leaf(issuing=lambda: STRANGER),
    "two intermediates": _two_levels(0, 1, 2),
    "in the wrong order": _two_levels(0, 2, 1),
    "an intermediate is missing": _two_levels(0, 2),
    "alone": _beside(),
    "with its root": _beside(ISSUING, ROOT),
    "with one certificate more": _beside(ISSUING, STRANGER),
    "an intermediate twice": _beside(ISSUING, ISSUING),
    "an expired intermediate": _leaf(
        issuing=lambda: ROOT.intermediate("Expired", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    ),
    "an intermediate that is no CA": _leaf(issuing=lambda: ROOT.intermediate("No CA", ca=False)),
    "a path too long": _leaf(issuing=lambda: ROOT.intermediate("Short", path_length=0).intermediate("Below")),
    "a name that its CA may not certify": _leaf(issuing=lambda: ROOT.intermediate("Limit", permitted=["example.net"])),
    "for clients": _leaf(purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]),
    "an unknown critical extension": _leaf(extensions=[UNKNOWN_CRITICAL]),
    "a signature that is wrong": _leaf(corrupt_signature=True),
    "version 1": _leaf(version=1),
    "a negative serial number": _leaf(serial=-5),
    "a subject made to deceive": _leaf(subject=HOSTILE_TEXT),
    "NUL in a name": _leaf(DOMAIN, f"{DOMAIN}\0.example.net"),
    "2,000 names": _leaf(DOMAIN, *(f"h{each}.example.com" for each in range(2000))),
    "10,000 names": _leaf(DOMAIN, *(f"h{each}.example.com" for each in range(10_000))),
    **{
        f"breaks a rule: {name}": _odd(ODDITIES[name])
        for name in ("version 1 written out", "version 4", "a set out of order", "a true that is 1")
    },
}

_OLD: Final = TLSVersion.TLS1_2
_SESSIONS: Final[Mapping[str, Row]] = {
    **{f"{each} alone": _only(each) for each in TLSVersion},
    "one cipher alone": _takes("ECDHE-RSA-CHACHA20-POLY1305", maximum=_OLD),
    "a key exchange by RSA": _takes("AES128-SHA:@SECLEVEL=0", maximum=_OLD),
    "Diffie-Hellman without curves": _takes("DHE-RSA-AES128-GCM-SHA256", dhe=True, maximum=_OLD),
    "one group alone": _takes("DEFAULT", curve="secp521r1"),
    "one group alone, TLS 1.2": _takes("DEFAULT", curve="secp384r1", maximum=_OLD),
    "by name": _by_name(sni=True),
    "by name, without SNI": _by_name(sni=False),
    "two keys": _two_keys(),
    "two keys, RSA": _two_keys("rsa"),
    "two keys, EC": _two_keys("ec"),
    **{f"asks for a client certificate, {each}": _asks(Asks.OPTIONALLY, each) for each in _NEW},
    **{f"requires a client certificate, {each}": _asks(Asks.STRICTLY, each) for each in _NEW},
    "a staple that says good": _staples(),
    "a staple that says revoked": _staples(True),
    "a staple out of date": _staples(stale=True),
    "a staple of a stranger": _staples(by=STRANGER),
}

_FAULTS: Final[Mapping[str, Row]] = {
    "refuses": _peer(Behaviour.REFUSES),
    "says nothing": _peer(Behaviour.SILENT, hangs=True),
    "drips": _peer(Behaviour.DRIPS, hangs=True),
    "closes": _peer(Behaviour.CLOSES),
    "resets": _peer(Behaviour.RESETS),
    "alerts": _peer(Behaviour.ALERTS),
    "floods": _peer(Behaviour.FLOODS),
    "speaks HTTP": _peer(Behaviour.PLAIN_HTTP),
    "speaks SSH": _peer(Behaviour.BANNER),
    "resets amid the handshake": _plays(HELLO, _PART, RESET),
    "leaves amid the handshake": _plays(HELLO, _PART),
    "falls silent amid the handshake": _plays(HELLO, _PART, HOLD, hangs=True),
    "a megabyte of certificates": _presents(_megabyte),
    "injects text before TLS": _plays(*_SMTP, b"220 go ahead\r\n250 injected\r\n", HELLO, protocol=P.SMTP),
    "agrees and goes on in the clear": _plays(*_SMTP, b"220 go ahead\r\n", HELLO, b"500 what?\r\n", protocol=P.SMTP),
    "does not offer STARTTLS": _plays(b"220 it ESMTP\r\n", HELLO, b"250 it\r\n", HELLO, protocol=P.SMTP),
    "declines STARTTLS": _plays(*_SMTP, b"454 not now\r\n", HELLO, protocol=P.SMTP),
}

_PROTOCOLS: Final[Mapping[EndpointProtocol, str]] = {
    P.SMTP: "postfix",
    P.LMTP: "dovecot",
    P.IMAP: "dovecot",
    P.POP3: "dovecot",
    P.SIEVE: "dovecot",
    P.FTP: "vsftpd",
    P.IRC: "inspircd",
    P.LDAP: "slapd",
    P.XMPP: "prosody",
    P.XMPP_SERVER: "prosody",
    P.POSTGRES: "pg_ctlcluster",
    P.MYSQL: "mariadbd",
    P.RDP: "xrdp",
}

ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **{name: _presents(chain) for name, chain in _CHAINS.items()},
        **_SESSIONS,
        **_FAULTS,
        **{f"speaks {protocol}": _speaks(protocol, program) for protocol, program in _PROTOCOLS.items()},
        "speaks smtp, Exim": _exim(),
        "Tomcat": _tomcat(),
    }
)
"""By a name in words."""
