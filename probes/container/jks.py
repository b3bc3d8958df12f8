"""Java's own keystores, JKS and JCEKS, and Bouncy Castle's: recognised, and not read yet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from config.vocabulary import FileFormat
from probes.container.blocks import Format

_JKS: Final = bytes.fromhex("feedfeed")
_JCEKS: Final = bytes.fromhex("cececece")
_BKS: Final = (bytes.fromhex("0000000100000014"), bytes.fromhex("0000000200000014"))
"""Version 1 or 2, and the length of a salt."""


def _begins(*beginnings: bytes) -> Callable[[bytes], bool]:
    return partial(_begins_with_one, beginnings)


def _begins_with_one(beginnings: tuple[bytes, ...], data: bytes) -> bool:
    return data.startswith(beginnings)


JKS: Final = Format(FileFormat.JKS, "a JKS keystore", _begins(_JKS), _JKS[0], with_certificates=True, is_keystore=True)
JCEKS: Final = Format(
    FileFormat.JCEKS, "a JCEKS keystore", _begins(_JCEKS), _JCEKS[0], with_certificates=True, is_keystore=True
)
BKS: Final = Format(
    FileFormat.BKS,
    "a Bouncy Castle keystore (BKS)",
    _begins(*_BKS),
    _BKS[0][0],
    with_certificates=True,
    is_keystore=True,
)
