"""Findings about keystores: their trusted certificates, and a password that everybody knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from config.model import Thresholds
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, Severity
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.time import judge_time
from probes.keystore import DEFAULT_PASSWORD, Keystore, KeystoreEntry

_OF_PACKAGES: Final = ("/etc/ssl/certs/java/", "/etc/pki/")
"""Where the packages of Linux distributions keep the trust store of all Java programs."""
_OF_JAVA: Final = ("/lib/security/cacerts", "/lib/security/jssecacerts")
"""And where each installation of Java has its own, or a link to that."""


def judge_trusted(
    entries: Iterable[KeystoreEntry[Certificate]], now: float, thresholds: Thresholds | None
) -> Iterator[Finding]:
    """Yield what is wrong with trusted certificates at Unix time `now`: notices at most, since no server presents them.

    A certificate that is there under two aliases goes on being trusted where one of them is removed.
    """
    first: dict[Certificate, Printable] = {}
    for number, entry in enumerate(entries):
        subject = sentence("alias {}", entry.alias) if entry.alias else sentence("entry {}", number)
        for each in entry.certificates:
            yield from judge_time(each, subject, now, thresholds, anchor=True)
            if each in first:
                detail = sentence("{} is in the keystore twice: {}, {}", each.title, first[each], subject)
                yield finding(Code.UNNEEDED_CERTIFICATE, detail, subject)
            first.setdefault(each, subject)


def judge_store_password(keystore: Keystore[Certificate], path: str) -> Iterator[Finding]:
    """Yield that the password of the keystore at `path` is Java's default.

    Trust stores at a place of a Java package keep it: the package's scripts import by it. Nothing is asked of the
    package manager; the place alone tells.
    """
    if not keystore.default_password:
        return
    detail = sentence("its password is {}, which everybody knows", harmless(DEFAULT_PASSWORD.decode()))
    if keystore.is_trust_store and (path.startswith(_OF_PACKAGES) or path.endswith(_OF_JAVA)):
        detail = sentence("{}; scripts of Java's packages need it here", detail)
        yield finding(Code.DEFAULT_STORE_PASSWORD, detail, severity=Severity.INFORMATIONAL)
    else:
        yield finding(Code.DEFAULT_STORE_PASSWORD, detail)
