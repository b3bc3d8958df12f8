"""The file that `web.config_file` names: TLS and basic authentication in the shape of Prometheus' exporter-toolkit."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from config.document import KeyPath, Mistake, YAMLDocument, parse
from config.immutable import immutable
from config.schema.problem import problems, schema_of
from config.schema.section import Section, broken_rule
from config.text import printable

_MAX_BYTES: Final = 1 << 20

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_CERTIFICATE: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""By the name that Go, and so every exporter, gives them; those of TLS 1.3 are not to be chosen."""

_HEADERS: Final = (
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
)

Version = Literal["TLS12", "TLS13"]
ClientAuth = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]


def _suite(name: str) -> str:
    if name not in _SUITES:
        raise ValueError(f"one of {', '.join(_SUITES)}")
    return name


def _header_name(name: str) -> str:
    if name not in _HEADERS:
        raise ValueError(f"one of {', '.join(_HEADERS)}")
    return name


def _header(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("printable ASCII")
    return value


def _bcrypt(value: object) -> str:
    # Whatever else stands there may be the password itself: it must not be repeated.
    if not isinstance(value, str) or not re.fullmatch(r"\$2[aby]\$(?:0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}", value):
        raise broken_rule("found something else, expected a bcrypt hash of the password, of cost 4 to 19")
    return value


class TLSServer(Section):
    """How TLS is spoken."""

    cert_file: str
    """The server's certificate, its chain appended, as PEM."""
    key_file: str
    """Its private key, unencrypted PEM."""
    client_auth_type: ClientAuth = "NoClientCert"
    """Whether clients must show a certificate."""
    client_ca_file: str | None = None
    """The CAs that issue to clients, as PEM."""
    min_version: Version = "TLS12"
    """The lowest version spoken."""
    max_version: Version = "TLS13"
    """The highest version spoken."""
    cipher_suites: list[Annotated[str, AfterValidator(_suite)]] = Field(default_factory=list)
    """Cipher suites of TLS 1.2; empty for OpenSSL's choice."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_version < self.min_version:
            raise broken_rule("max_version is lower than min_version, expected the opposite")
        if (self.client_auth_type == "NoClientCert") != (self.client_ca_file is None):
            raise broken_rule("client_auth_type and client_ca_file go together, expected both or neither")
        return self


class HTTPServer(Section):
    """How HTTP is spoken."""

    http2: Literal[False] = False
    """HTTP/2 is not spoken."""
    headers: dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header)]] = Field(
        default_factory=dict
    )
    """Headers for every answer."""


class WebConfigRoot(Section):
    """The document."""

    tls_server_config: TLSServer | None = None
    """TLS; without it, plain HTTP."""
    http_server_config: HTTPServer = HTTPServer()
    """Headers."""
    basic_auth_users: dict[str, Annotated[str, BeforeValidator(_bcrypt)]] = Field(default_factory=dict)
    """Who may come in: the bcrypt hash of each user's password."""


@immutable
class WebConfig:
    """How the TCP listeners are protected."""

    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, bytes] = field(default_factory=dict)
    """The bcrypt hash of each user's password; empty lets everyone in."""


def read_web_config(path: str) -> WebConfig | tuple[Mistake, ...]:
    """Return the settings in the file at `path`, with certificate and key loaded, or all its mistakes."""
    try:
        data = _read(path)
    except OSError as error:
        return (Mistake(printable(path), 0, "", f"cannot be read: {error.strerror}"),)
    except ValueError as error:
        return (Mistake(printable(path), 0, "", str(error)),)
    document, mistakes = parse(data, path)
    if document is None or mistakes:
        return mistakes
    try:
        root = WebConfigRoot.model_validate(document.values)
    except ValidationError as error:
        found = problems(error.errors(include_url=False), schema_of(WebConfigRoot), document)
        return tuple(document.mistake(problem.path, problem.text) for problem in found)
    users = {user: stored.encode() for user, stored in root.basic_auth_users.items()}
    tls = root.tls_server_config
    context = None if tls is None else _context(tls, os.path.dirname(os.path.abspath(path)), document)
    if isinstance(context, Mistake):
        return (context,)
    return WebConfig(context, root.http_server_config.headers, users)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o022:
            raise ValueError("others than its owner may write it, expected mode 0640 or stricter")
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES} bytes")
    return data


def _context(tls: TLSServer, directory: str, document: YAMLDocument) -> ssl.SSLContext | Mistake:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.minimum_version, context.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    certificate, key = os.path.join(directory, tls.cert_file), os.path.join(directory, tls.key_file)
    if tls.cipher_suites:
        context.set_ciphers(":".join(_SUITES[name] for name in tls.cipher_suites))
    where: KeyPath = ("tls_server_config", "cert_file")
    try:
        # Without a password at hand, OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
        if tls.client_ca_file is not None:
            where = ("tls_server_config", "client_ca_file")
            context.load_verify_locations(os.path.join(directory, tls.client_ca_file))
            context.verify_mode = _CLIENT_CERTIFICATE[tls.client_auth_type]
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        files = f"{tls.cert_file} and {tls.key_file}" if where[-1] == "cert_file" else tls.client_ca_file or ""
        return document.mistake(where, f"{printable(files)} cannot be used: {printable(what)}")
    return context
