"""Findings about keystores: their trusted certificates, and a password that everybody knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from config.model import Thresholds
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, Severity
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.subject import SubjectOf
from probes.judge.time import judge_time
from probes.keystore import DEFAULT_PASSWORD, Keystore, KeystoreEntry

_OF_PACKAGES: Final = ("/etc/ssl/certs/java/", "/etc/pki/")
"""Where the packages of Linux distributions keep the trust store of all Java programs."""
_OF_JAVA: Final = ("/lib/security/cacerts", "/lib/security/jssecacerts")
"""And where each installation of Java has its own, or a link to that."""
_SHOWN: Final = 5
"""Aliases of one certificate; a hostile keystore could have ten thousand."""


def judge_trusted(
    entries: Iterable[KeystoreEntry[Certificate]],
    subject_of: SubjectOf,
    now: float,
    thresholds: Thresholds | None,
    *,
    of_document: bool = False,
) -> Iterator[Finding]:
    """Yield what is wrong with trusted certificates at Unix time `now`: notices at most, since no server presents them.

    A certificate that is there under two aliases goes on being trusted where one of them is removed. In a document it
    stands wherever it is needed.
    """
    names: dict[Certificate, list[Printable]] = {}
    for number, entry in enumerate(entries):
        for each in entry.certificates:
            name = sentence("alias {}", entry.alias) if entry.alias else sentence("entry {}", number)
            name = entry.alias if of_document else name
            names.setdefault(each, []).append(name)
    for each, called in names.items():
        for found in judge_time(each, subject_of(each), now, thresholds, anchor=True):
            yield replace(found, detail=sentence("{}: {}", _some(called), found.detail))
        if len(called) > 1 and not of_document:
            detail = sentence("{} is in the keystore {} times: {}", each.title, len(called), _some(called))
            yield finding(Code.UNNEEDED_CERTIFICATE, detail, subject_of(each))


def _some(names: Sequence[Printable]) -> Printable:
    """Return the first names of many."""
    shown = listed(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else sentence("{} and {} more", shown, len(names) - _SHOWN)


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
        cure = Printable("leave the password as it is: give one of its own to a store of your own alone")
        yield replace(finding(Code.DEFAULT_STORE_PASSWORD, detail, severity=Severity.INFORMATIONAL), cure=cure)
    else:
        yield finding(Code.DEFAULT_STORE_PASSWORD, detail)
