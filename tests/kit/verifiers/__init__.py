"""Real verifiers behind one interface: chains as they are presented go in, what each program does with them comes out.

Each is a program that stays for a batch. It reads a line for each question: the name that is asked for, the anchors,
the presented chain and the private key of its leaf, by tabs; certificates in DER as base64, by commas. It answers with
a line: `accepts`, or `refuses` and its own words, which are shown to developers of certvigil and never interpreted.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from monitor.lab.ca import PrivateKey
from monitor.lab.process import find_command

_HERE: Final = Path(__file__).parent
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "certvigil-verifiers"
"""Where programs lie that have to be built once."""
_LIMIT: Final = 900
"""Seconds for one batch."""


@dataclass(frozen=True, slots=True)
class Question:
    """A chain as a server presents it to a client that asks for a name and trusts these anchors."""

    name: str
    anchors: tuple[bytes, ...]
    chain: tuple[bytes, ...]
    key: PrivateKey
    """Of the first certificate."""

    def line(self) -> bytes:
        """Return it as the programs read it."""
        key = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        parts = (_written(self.anchors), _written(self.chain), base64.b64encode(key))
        return b"\t".join((self.name.encode(), *parts)) + b"\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a real verifier did."""

    accepts: bool
    said: str


@dataclass(frozen=True, slots=True)
class RealVerifier:
    """A program that judges chains as the clients do that are built on it."""

    name: str
    needs: str
    """The command without which it cannot be had."""
    command: Callable[[], Sequence[str]]
    """Builds what has to be built, and gives the command."""
    fits: Callable[[], bool] = lambda: True
    """Whether that command is of a version that the row of the family is about."""

    @property
    def is_there(self) -> bool:
        """Whether this machine has it."""
        return find_command(self.needs) is not None and self.fits()

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Return its answers, in order."""
        ran = subprocess.run(
            self.command(),
            input=b"".join(each.line() for each in questions),
            capture_output=True,
            timeout=_LIMIT,
            check=False,
        )
        lines = ran.stdout.decode(errors="replace").splitlines()
        if len(lines) != len(questions):
            raise RuntimeError(f"{self.name} answers {len(lines)} of {len(questions)}: {ran.stderr[-2000:]!r}")
        return [Answer(each == "accepts", each.removeprefix("refuses ")) for each in lines]


def ask_all(verifiers: Sequence[RealVerifier], questions: Sequence[Question]) -> dict[str, list[Answer]]:
    """Return the answers of each verifier by its name; they are asked at the same time."""
    with ThreadPoolExecutor(max(1, len(verifiers))) as pool:
        answers = pool.map(lambda each: each.ask(questions), verifiers)
        return dict(zip((each.name for each in verifiers), answers, strict=True))


def _written(certificates: Sequence[bytes]) -> bytes:
    return b",".join(map(base64.b64encode, certificates))


def _handshakes(kind: str) -> Callable[[], Sequence[str]]:
    return lambda: (sys.executable, "-I", str(_HERE / "handshakes.py"), kind)


def _go() -> Sequence[str]:
    source = _HERE / "verify.go.txt"
    version = subprocess.run(["go", "version"], capture_output=True, check=True).stdout
    program = _CACHE / f"go-{hashlib.sha256(source.read_bytes() + version).hexdigest()[:16]}"
    if not program.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as directory:
            shutil.copy(source, Path(directory) / "main.go")
            built = Path(directory) / "program"
            # A program without a module has the defaults of an old version.
            number = ".".join(map(str, _go_version()))
            (Path(directory) / "go.mod").write_text(f"module verify\n\ngo {number}\n")
            environment = {**os.environ, "GO111MODULE": "on", "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
            build = ("go", "build", "-o", str(built), ".")
            subprocess.run(build, cwd=directory, env=environment, check=True, capture_output=True)
            built.rename(program)
    return (str(program),)


def _go_version() -> tuple[int, int]:
    """Return (1, 26) of `go version go1.26.8 linux/amd64`."""
    said = subprocess.run(["go", "version"], capture_output=True, check=True, text=True).stdout
    major, minor = said.split()[2].removeprefix("go").split(".")[:2]
    return int(major), int(minor)


def _java() -> Sequence[str]:
    return ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", str(_HERE / "Verify.java"))


def _curl() -> Sequence[str]:
    return (sys.executable, "-I", str(_HERE / "handshakes.py"), "curl")


OPENSSL: Final = RealVerifier("openssl", "openssl", _handshakes("openssl"))
"""`openssl s_client` with `-verify_hostname` and `-verify_return_error`."""
PYTHON: Final = RealVerifier("python", "openssl", _handshakes("python"))
"""`ssl.create_default_context()` up to Python 3.12."""
PYTHON_3_13: Final = RealVerifier("python-3.13", "openssl", _handshakes("python-3.13"))
"""The same since Python 3.13, which sets two more flags."""
CURL: Final = RealVerifier("curl", "curl", _curl)
GNUTLS: Final = RealVerifier("gnutls", "gnutls-cli", _handshakes("gnutls"))
"""`gnutls_session_set_verify_cert`, as wget has it."""
GO: Final = RealVerifier("go", "go", _go, lambda: _go_version() >= (1, 24))
"""`crypto/tls`. Debian 12 has one that is older than the row."""
JAVA: Final = RealVerifier("java-17", "java", _java)
"""`SSLEngine` with the endpoint identification of HTTPS."""

ALL: Final = (OPENSSL, PYTHON, PYTHON_3_13, CURL, GNUTLS, GO, JAVA)
