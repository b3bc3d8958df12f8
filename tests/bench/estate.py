"""Ten thousand files with two certificates each, all different: what the daemon is measured against."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import MappingProxyType
from typing import Final, cast
from zlib import crc32

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from monitor.lab.ca import DAY, Authority, KeyType, PrivateKey, new_key

FILES: Final = 10_000
DIRECTORIES: Final = 100
_ENDS_SOON_EVERY: Final = 50


@dataclass(frozen=True, slots=True)
class MeasuredEstate:
    """A directory of directories of PEM files."""

    directory: str
    files: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """What matches all of them."""
        return f"{self.directory}/**/*.pem"


def configuration(
    state: str,
    *patterns: str,
    rescan: str = "10m",
    listen: str = "127.0.0.1:0",
    endpoints: Mapping[str, str] = MappingProxyType({}),
    every: str = "0.5s",
    more: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Return the YAML of a daemon that keeps its state below `state`; `endpoints` gives addresses by name.

    The sections in `more` stand beside these, or in their place.
    """
    return json.dumps(
        {
            "state_directory": f"{state}/state",
            "socket": f"{state}/certvigil.sock",
            "rescan": rescan,
            "web": {"listen": [listen]},
            "watch": [{"files": [each]} for each in patterns],
            "endpoints": [
                {"name": name, "address": address, "every": every, "clients": []} for name, address in endpoints.items()
            ],
            **more,
        }
    )


def build(directory: str, files: int = FILES) -> MeasuredEstate:
    """Make the estate below `directory`, on both cores."""
    paths = tuple(os.path.join(directory, f"{number % DIRECTORIES:03}", f"{number:05}.pem") for number in range(files))
    for parent in {os.path.dirname(path) for path in paths}:
        os.makedirs(parent)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(_write, paths[half::2], half) for half in range(2)]:
            done.result()
    return MeasuredEstate(directory, paths)


def _write(paths: tuple[str, ...], first: int) -> None:
    for number, path in enumerate(paths):
        with open(path, "wb") as file:
            file.write(chain(f"{first}-{number}", ends_soon=number % _ENDS_SOON_EVERY == 0))


_KINDS: Final = (KeyType.P256, KeyType.RSA2048, KeyType.P384, KeyType.RSA2048)
_SIGNER: Final = new_key(KeyType.P256)
_ROOT: Final = Authority.root(key=_SIGNER)


def chain(name: str, *, ends_soon: bool = False) -> bytes:
    """Return the PEM of a server's certificate and its intermediate, of which there are no others."""
    issuer = _ROOT.intermediate(subject=_name(f"Bench Issuing CA {name}"), key=_SIGNER)
    leaf = issuer.issue(
        f"host-{name}.bench.example",
        f"www.host-{name}.bench.example",
        subject=_name(f"host-{name}.bench.example"),
        key=_new_key(_KINDS[crc32(name.encode()) % len(_KINDS)]),
        not_after=time.time() + (10 if ends_soon else 89) * DAY,
    )
    return leaf.chain_pem()


@dataclass(frozen=True, slots=True)
class _PublicHalf:
    """Stands in the place of a key that nobody needs."""

    number: int

    def public_key(self) -> rsa.RSAPublicKey:
        return rsa.RSAPublicNumbers(65_537, self.number).public_key()


def _new_key(kind: KeyType) -> PrivateKey:
    """Return a key of its own for each file; of RSA, whose making takes long, a public half without a private one."""
    if kind is KeyType.RSA2048:
        return cast("PrivateKey", _PublicHalf(secrets.randbits(2048) | 1 << 2047 | 1))
    return new_key(kind)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bench"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )
