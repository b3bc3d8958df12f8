"""Java's keystores: as keytool writes them, and byte by byte, as nobody should write them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PublicFormat, pkcs12

from monitor.lab.ca import Authority, Issued, KeyType
from monitor.lab.process import find_command
from tests.kit.keystore import keystore

JKS: Final = bytes.fromhex("feedfeed")
JCEKS: Final = bytes.fromhex("cececece")
PASSWORD: Final = b"correct horse"
CHANGEIT: Final = b"changeit"
OTHER: Final = b"another key"
"""The password of one key, which the keystore does not have."""
ALIASES: Final = ("root", "zweite wurzel ä ω 😀")


@dataclass(frozen=True, slots=True)
class JavaStores:
    """What keytool wrote."""

    roots: tuple[bytes, ...]
    """The certificates in the trust stores, under `ALIASES`; DER."""
    chain: tuple[bytes, ...]
    """In the others, under `site`; DER."""
    public_half: bytes
    """Of the key under `site`; SubjectPublicKeyInfo, DER."""
    data: Mapping[str, bytes]
    """By name: `trust.jks`, `trust.jceks`, `trust.p12` with CHANGEIT; `key.jks`, `key.jceks`, `key.p12` with PASSWORD.

    `key.jks` has another key under `own`, locked by OTHER, and `key.jceks` a secret key under `secret`.
    """


def java_stores(directory: Path) -> JavaStores:
    """Have keytool write one keystore of each kind; it takes a second for each."""
    roots = (Authority.root("Root"), Authority.root("Second Root"))
    leaf = roots[0].intermediate("Issuing").issue("www.example.com", key=KeyType.RSA2048)
    own = roots[1].issue("own.example.com", key=KeyType.P256)
    given = {
        "trust": trust_store(roots, ALIASES),
        "site": keystore(leaf, PASSWORD),
        "own": keystore(own, PASSWORD, name=b"own"),
    }
    for name, data in given.items():
        (directory / f"given-{name}.p12").write_bytes(data)
    for kind in ("jks", "jceks", "p12"):
        _import(directory, "given-trust.p12", f"trust.{kind}", CHANGEIT)
        _import(directory, "given-site.p12", f"key.{kind}", PASSWORD)
    _import(directory, "given-own.p12", "key.jks", PASSWORD, "-srcalias", "own", "-destkeypass", OTHER.decode())
    secret = ("-genseckey", "-alias", "secret", "-keyalg", "AES", "-keysize", "128", "-storetype", "JCEKS")
    keytool(directory, *secret, "-keystore", "key.jceks", "-storepass", PASSWORD.decode())
    names = [f"{what}.{kind}" for what in ("trust", "key") for kind in ("jks", "jceks", "p12")]
    return JavaStores(
        tuple(each.der() for each in roots),
        tuple(each.der() for each in leaf.chain),
        leaf.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        {name: (directory / name).read_bytes() for name in names},
    )


def _import(directory: Path, source: str, to: str, password: bytes, *options: str) -> None:
    kind = {"jks": "JKS", "jceks": "JCEKS", "p12": "PKCS12"}[to.rpartition(".")[2]]
    given = ("-srckeystore", source, "-srcstoretype", "PKCS12", "-srcstorepass", password.decode())
    made = ("-destkeystore", to, "-deststoretype", kind, "-deststorepass", password.decode())
    keytool(directory, "-importkeystore", *given, *made, *options, "-noprompt")


def keytool(directory: Path, *arguments: str) -> str:
    """Return what keytool says; it is quick to start where it compiles nothing."""
    command = [find_command("keytool") or "", "-J-XX:TieredStopAtLevel=1", "-J-Xshare:auto", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trust_store(roots: Sequence[Issued], aliases: Sequence[str], password: bytes = CHANGEIT) -> bytes:
    """Return PKCS#12 with certificates that Java trusts."""
    held = [
        pkcs12.PKCS12Certificate(each.certificate, alias.encode()) for each, alias in zip(roots, aliases, strict=True)
    ]
    return pkcs12.serialize_java_truststore(held, BestAvailableEncryption(password))


def text(value: str | bytes) -> bytes:
    """Return text as Java writes it; bytes as they are, behind their length."""
    encoded = value.encode() if isinstance(value, str) else value
    return len(encoded).to_bytes(2, "big") + encoded


def sized(data: bytes) -> bytes:
    """Return bytes behind their length."""
    return len(data).to_bytes(4, "big") + data


def certificate(der: bytes, kind: str = "X.509") -> bytes:
    """Return a certificate as version 2 has it."""
    return text(kind) + sized(der)


def trusted(alias: str | bytes, der: bytes, created: int = 1_700_000_000_000, kind: str = "X.509") -> bytes:
    """Return an entry with a trusted certificate."""
    return _entry(2, alias, created) + certificate(der, kind)


def private(alias: str, protected: bytes, chain: Sequence[bytes], count: int | None = None) -> bytes:
    """Return an entry with a private key; it says that its chain has `count` certificates."""
    length = (len(chain) if count is None else count).to_bytes(4, "big")
    return _entry(1, alias, 0) + sized(protected) + length + b"".join(map(certificate, chain))


def secret(alias: str, stream: bytes) -> bytes:
    """Return an entry with a secret key."""
    return _entry(3, alias, 0) + stream


def _entry(tag: int, alias: str | bytes, created: int) -> bytes:
    return tag.to_bytes(4, "big") + text(alias) + created.to_bytes(8, "big", signed=True)


def store(
    *entries: bytes, magic: bytes = JKS, password: bytes = PASSWORD, version: int = 2, count: int | None = None
) -> bytes:
    """Return a keystore with these entries; it says that there are `count`."""
    said = len(entries) if count is None else count
    body = magic + version.to_bytes(4, "big") + said.to_bytes(4, "big") + b"".join(entries)
    return body + hashlib.sha1(password.decode().encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


def protected(scheme: str, parameters: bytes, encrypted: bytes) -> bytes:
    """Return an EncryptedPrivateKeyInfo (RFC 5958, 3) by the hexadecimal identifier of its scheme."""
    identifier = _element(0x06, bytes.fromhex(scheme))
    return _element(0x30, _element(0x30, identifier, parameters), _element(0x04, encrypted))


def rounds_of_md5(salt: bytes, rounds: int) -> bytes:
    """Return the parameters of JCEKS's protection of keys."""
    number = _element(0x02, rounds.to_bytes(rounds.bit_length() // 8 + 1, "big"))
    return _element(0x30, _element(0x04, salt), number)


def locked(key: bytes, password: bytes = PASSWORD) -> bytes:
    """Return a private key, PKCS#8, as JKS protects it."""
    known, salt = password.decode().encode("utf-16-be"), bytes(range(20))
    stream, digest = b"", salt
    while len(stream) < len(key):
        digest = hashlib.sha1(known + digest).digest()
        stream += digest
    hidden = bytes(one ^ other for one, other in zip(key, stream, strict=False))
    return protected(BY_JDK, b"\5\0", salt + hidden + hashlib.sha1(known + key).digest())


BY_JDK: Final = "2b060104012a02110101"
BY_JCE: Final = "2b060104012a021301"


def _element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, len(content)] if len(content) < 0x80 else [tag, 0x80 | len(size), *size]) + content
