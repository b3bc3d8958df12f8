"""`certvigil check`: look once, judge, print."""

from __future__ import annotations

import asyncio
import glob
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from config.address import split_address
from config.model import Client, Endpoint, FileTarget, PemBundle, SystemStore, TrustStore, Watch
from config.text import printable
from config.vocabulary import FileRole, Verdict, VerifierName
from monitor.commands.screen import Screen
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file, is_worth_watching
from probes.certificate import Certificate
from probes.file import look_at_file
from probes.find import find
from probes.finding import Assessment, verdict
from probes.judge.client import View
from probes.judge.source import UNREACHABLE_AFTER
from probes.observation import EndpointObservation, Presented
from probes.trust import TrustUnreadable, read_trust

EXIT_CODE: Final = {Verdict.OK: 0, Verdict.WARNING: 1, Verdict.CRITICAL: 2, Verdict.UNKNOWN: 3}
UNUSABLE: Final = 3
"""What monitoring plugins exit with when they were called wrongly."""

_CONCURRENCY: Final = 20
_URL: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.+)", re.IGNORECASE)


class UsageError(Exception):
    """What was asked for cannot be done; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on one target."""

    target: str
    assessment: Assessment
    chain: tuple[Certificate, ...]
    known: bool
    """Whether there was anything to judge."""
    addresses: tuple[Presented, ...] = ()
    """Of an endpoint that answered."""

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return verdict(self.assessment.findings, known=self.known)


def check(
    targets: Sequence[str],
    ca_file: str | None,
    verifier: VerifierName,
    name: str | None,
    at: str | None,
    *,
    timeout: float,
    as_json: bool,
) -> int:
    """Look at `targets`, print what is found and return the exit code."""
    try:
        now = parse_time(at) if at else time.time()
        chosen = _targets(targets, name, timeout)
        files = [each for each in chosen if isinstance(each, FileTarget)]
        endpoints = [each for each in chosen if isinstance(each, Endpoint)]
        view = _view(ca_file, verifier) if ca_file or endpoints else None
    except UsageError as error:
        sys.stderr.write(f"certvigil check: {error}\n")
        return UNUSABLE
    screen = Screen()
    unordered = [
        *screen.progress(_check_files(files, view if ca_file else None, now), len(files), "looking at files"),
        *(asyncio.run(_check_endpoints(endpoints, view, now)) if view else ()),
    ]
    place = {target.name: position for position, target in enumerate(chosen)}
    checked = sorted(unordered, key=lambda each: place[each.target])
    if as_json:
        json.dump(document(checked, now), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for each in checked:
            screen.target(each.target, each.verdict, each.assessment.findings, each.chain, now)
            for one in each.addresses:
                screen.say(f"         {one.address}: {one.version}, {one.cipher} {one.group}".rstrip(), "dim")
    return _exit_code(checked)


def _exit_code(checked: Iterable[Checked]) -> int:
    """Return the code of the worst verdict; a critical one outweighs an unknown one."""
    order = (Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN, Verdict.CRITICAL)
    return EXIT_CODE[max((each.verdict for each in checked), key=order.index, default=Verdict.UNKNOWN)]


def parse_time(text: str) -> float:
    """Return the Unix time that `text` means: an ISO 8601 date or time, in UTC where it names no zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--at {printable(text)}: not a time; write 2027-03-20 or 2027-03-20T08:00:00Z") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _view(ca_file: str | None, verifier: VerifierName) -> View:
    store = TrustStore("ca-file", PemBundle(ca_file)) if ca_file else TrustStore("system", SystemStore())
    trust = read_trust(store)
    if isinstance(trust, TrustUnreadable):
        raise UsageError(f"the trust store {printable(trust.path)} cannot be used: {trust.detail}")
    return View(Client(str(verifier), trust.name, verifier), trust)


def _targets(given: Iterable[str], name: str | None, timeout: float) -> list[FileTarget | Endpoint]:
    """Return what is meant, each once: what exists is a file or all in a directory, what reads HOST:PORT an endpoint.

    Raises UsageError for what is neither.
    """
    targets: dict[str, FileTarget | Endpoint] = {}
    for each in given:
        path = os.path.abspath(each)
        if os.path.isdir(path):
            found = find((Watch((glob.escape(path),)),))
            for target in sorted(found.targets, key=lambda target: target.path):
                targets.setdefault(target.path, target)
        elif os.path.lexists(path):
            targets[path] = FileTarget(printable(each), path, FileRole.LISTED)
        else:
            targets[each] = _endpoint(each, name, timeout)
    return list(targets.values())


def _endpoint(target: str, name: str | None, timeout: float) -> Endpoint:
    url = _URL.fullmatch(target)
    if url and url["scheme"].lower() not in {"tls", "https"}:
        raise UsageError(f"{printable(target)}: the protocol {url['scheme']} is not spoken yet; tls and https are")
    address = url["rest"].rstrip("/") if url else target
    if url and url["scheme"].lower() == "https" and not re.search(r":\d+$", address):
        address = f"{address}:443"
    try:
        host, port = split_address(address)
    except ValueError:
        raise UsageError(f"{printable(target)}: no such file or directory, and not HOST:PORT either") from None
    return Endpoint(printable(target), host, port, server_name=name, timeout=timeout)


def _check_files(files: Iterable[FileTarget], view: View | None, now: float) -> Iterator[Checked]:
    for target in files:
        observation = look_at_file(target, now)
        context = FileContext(target, view=view)
        if not is_worth_watching(observation, context):
            continue
        assessment = assess_file(observation, context, now)
        known = bool(observation.certificates or observation.keys)
        yield Checked(target.name, assessment, observation.certificates, known)


async def _check_endpoints(endpoints: Sequence[Endpoint], view: View, now: float) -> list[Checked]:
    from probes.tls.drive import look  # noqa: PLC0415 (files alone do not need it)

    room = asyncio.Semaphore(_CONCURRENCY)

    async def one(endpoint: Endpoint) -> Checked:
        async with room:
            observation: EndpointObservation = await look(endpoint, now)
        # There will be no second look to wait for.
        context = EndpointContext(endpoint, (view,), failures_in_a_row=UNREACHABLE_AFTER)
        assessment = assess_endpoint(observation, context, now)
        chain = observation.presented[0].chain if observation.presented else ()
        return Checked(endpoint.name, assessment, chain, bool(observation.presented), observation.presented)

    return list(await asyncio.gather(*map(one, endpoints)))


def document(checked: Iterable[Checked], now: float) -> dict[str, Any]:
    """Return what `--json` prints; its shape is a contract, `schema` counts its versions."""
    return {
        "schema": 1,
        "at": iso(now),
        "targets": [
            {
                "target": each.target,
                "verdict": each.verdict,
                "findings": [
                    {"code": found.code, "severity": found.severity, "subject": found.subject, "detail": found.detail}
                    for found in each.assessment.findings
                ],
                "chain": list(map(certificate_document, each.chain)),
                "addresses": [
                    {"address": one.address, "version": one.version, "cipher": one.cipher, "group": one.group}
                    for one in each.addresses
                ],
            }
            for each in checked
        ],
    }


def certificate_document(certificate: Certificate) -> dict[str, Any]:
    """Return the facts of one certificate; what could not be decoded is null."""
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "not_before": iso(certificate.not_before),
        "not_after": iso(certificate.not_after),
        "sha256": certificate.sha256,
        "names": list(certificate.names),
        "key": {"kind": certificate.key.kind, "bits": certificate.key.bits},
        "signature_hash": certificate.signature_hash,
        "is_ca": certificate.is_ca,
        "failures": list(certificate.failures),
    }


def iso(at: float | None) -> str | None:
    """Return Unix time `at` in ISO 8601, UTC, to the second."""
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
