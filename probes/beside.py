"""Which files beside a certificate hold its private key, by their names alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

_ENDINGS: Final = (".key", ".key.pem", "-key.pem", "_key.pem", ".key.der")
_PART: Final = r"(?:fullchain|chain|certificate|cert|crt|bundle)"
_EXTENSION: Final = r"\.(?:pem|crt|cer|cert|der|p7b|p7c)"
_NAMED: Final = re.compile(rf"(?P<stem>.+)[-_.]{_PART}{_EXTENSION}", re.IGNORECASE)
_GENERIC: Final = re.compile(rf"{_PART}(?P<number>\d*){_EXTENSION}", re.IGNORECASE)
"""Names for the kind of a file, and not for its owner; certbot's archive numbers them."""
_CHAIN: Final = re.compile(rf"(?:.+[-_.])?(?:chain|bundle)\d*{_EXTENSION}", re.IGNORECASE)
"""Names of files with the certificates of CAs that go with another certificate."""
_GENERIC_KEYS: Final = ("privkey{}.pem", "key{}.pem", "private{}.pem", "privkey{}.key", "key{}.key", "private{}.key")


def is_named_as_chain(path: str) -> bool:
    """Whether a file's name says that it holds the certificates of CAs, as `chain.pem` does."""
    return _CHAIN.fullmatch(os.path.basename(path)) is not None


def key_paths(certificate: str, *, named_alike: bool = False) -> Iterator[str]:
    """Yield the paths at which the private key of the certificate at that path lies by custom, the likeliest first.

    `site.crt` has `site.key`, `site-cert.pem` has `site-key.pem`, and `fullchain.pem` has `privkey.pem`. With
    `named_alike`, only the first of these: the others are the keys of whichever certificate lies there.
    """
    directory, name = os.path.split(certificate)
    names: dict[str, None] = {}
    stems = [os.path.splitext(name)[0], name]
    if not named_alike and (match := _NAMED.fullmatch(name)):
        stems.insert(1, match["stem"])
    names.update(dict.fromkeys(stem + ending for stem in stems for ending in _ENDINGS))
    if not named_alike and (match := _GENERIC.fullmatch(name)):
        names.update(dict.fromkeys(each.format(match["number"]) for each in _GENERIC_KEYS))
    yield from (os.path.join(directory, each) for each in names if each != name)
