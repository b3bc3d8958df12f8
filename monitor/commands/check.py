"""`certvigil check`: look once, judge, print."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from config.address import is_ip_address, split_proxy
from config.expected import AllowedTLS
from config.immutable import immutable
from config.model import Client, ClientCertificate, Endpoint, FileTarget, PemBundle, Proxy, SystemStore, TrustStore
from config.pointer import is_pointer
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import (
    AddressChoice,
    ClientCertificateUse,
    Code,
    EntryKind,
    FileFormat,
    FileRole,
    Integrity,
    KeyKind,
    ProxyProtocolVersion,
    Severity,
    UnreadableReason,
    VerifierName,
)
from monitor.commands.check_files import Manner, judge_files, look_at, passed_over
from monitor.commands.checked import Checked, document, exit_code, issuing_key
from monitor.commands.complain import complain
from monitor.commands.given import Directory, GivenTargets, PassedOverPath, UsageError, parse_time, read_given
from monitor.commands.json_output import print_json
from monitor.commands.keys import KeyFile, key_in
from monitor.commands.screen import Screen
from probes.assess import EndpointContext, assess_endpoint
from probes.certificate import Certificate
from probes.container.registry import called, is_keystore
from probes.file import look_at_file, unreadable
from probes.finding import finding
from probes.judge.client import View
from probes.judge.key import judge_match
from probes.judge.source import UNREACHABLE_AFTER
from probes.judge.time import moment
from probes.judge.tls import cipher_fault, judge_supported
from probes.keystore import Keystore
from probes.observation import EndpointObservation
from probes.ocsp import OCSPAnswer, OCSPFault, staple_of
from probes.tls.support import Supported, SupportedVersion
from probes.trust import TrustUnreadable, read_trust

UNUSABLE: Final = 3
"""The exit code of a monitoring plugin that was called wrongly."""

_CONCURRENCY: Final = 20
_BUNDLE: Final = 10
"""Of a bundle, which has more certificates, nobody reads each line."""
_NAMED: Final = 20
"""So many names are shown of the files that were passed over for one reason."""

_INTEGRITY: Final[Mapping[Integrity, Printable]] = MappingProxyType(
    {
        Integrity.VERIFIED: Printable("verified by its password"),
        Integrity.UNVERIFIED: Printable("not verified"),
        Integrity.UNPROTECTED: Printable("not protected by a password"),
    }
)
_OF_CLIENT_CERTIFICATE: Final[Mapping[ClientCertificateUse, Printable]] = MappingProxyType(
    {
        ClientCertificateUse.REQUESTED: Printable("asks for a client certificate, and takes clients without"),
        ClientCertificateUse.REQUIRED: Printable("requires a client certificate"),
        ClientCertificateUse.ACCEPTED: Printable("accepts the client certificate"),
        ClientCertificateUse.REFUSED: Printable("refuses the client certificate"),
    }
)
_CALLED: Final[Mapping[EntryKind, Printable]] = MappingProxyType(
    {
        EntryKind.TRUSTED: Printable("trusted certificates"),
        EntryKind.PRIVATE_KEY: Printable("private keys"),
        EntryKind.SECRET_KEY: Printable("secret keys"),
    }
)


@immutable
class CheckOptions:
    """How to look and to judge."""

    ca_file: str | None = None
    verifier: VerifierName | None = None
    name: str | None = None
    at: str | None = None
    key: str | None = None
    password_files: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()
    proxy: str | None = None
    proxy_credentials_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    address: str | None = None
    addresses: AddressChoice = AddressChoice.ALL
    sni: bool = True
    proxy_protocol: ProxyProtocolVersion | None = None
    key_type: KeyKind | None = None
    timeout: float = 10.0
    supported: bool = False
    """Whether to ask each endpoint for everything that it takes."""
    as_json: bool = False


@immutable
class _Task:
    """The targets, and the terms by which they are judged."""

    given: GivenTargets
    files: tuple[FileTarget, ...]
    endpoints: tuple[Endpoint, ...]
    view: View | None
    """Of the client; None where there is neither an endpoint nor a client for files."""
    manner: Manner
    supported: bool = False

    @property
    def now(self) -> float:
        """The Unix time of the judgement."""
        return self.manner.now

    @property
    def anchors(self) -> tuple[Certificate, ...]:
        """The certificates of the trust store: possible issuers of certificates without an issuer beside them."""
        return self.view.trust.anchors if self.view is not None else ()


def check(targets: Sequence[str], options: CheckOptions) -> int:
    """Look at `targets`, print the verdicts and return the exit code."""
    try:
        task = _task(targets, options)
    except UsageError as error:
        complain("certvigil check: {}", harmless(str(error)))
        return UNUSABLE
    screen = Screen()
    now, files = task.now, task.files
    observed = {each.path: look_at(each, now) for each in screen.progress(files, len(files), "looking at files")}
    unordered = [*judge_files(files, observed, task.manner), *_check_endpoints(task)]
    place = {target.name: position for position, target in enumerate(task.given.targets)}
    checked = sorted(unordered, key=lambda each: place[each.target])
    checked += [each for directory in task.given.directories for each in _unsearched(directory)]
    left_out = [(each, tuple(passed_over(each, observed, files))) for each in task.given.directories]
    if options.as_json:
        print_json(document(checked, [each for _, some in left_out for each in some], now, task.anchors))
    else:
        _show(screen, checked, left_out, task)
        if task.manner.view is None and any(each.format and each.chain for each in checked):
            screen.say("Add --ca-file or --verifier to have files judged as a client judges them.", style="dim")
    return exit_code(each.verdict for each in checked)


def _task(targets: Sequence[str], options: CheckOptions) -> _Task:
    """Return the task; raises UsageError where the request makes no sense or cannot be met."""
    now = parse_time(options.at) if options.at else time.time()
    given = read_given(targets, options.name, options.timeout)
    for path in options.password_files:
        _try_password(path)
    for pointer in options.pointers:
        if not is_pointer(pointer):
            raise UsageError(f"--pointer {printable(pointer)}: this is no JSON pointer, such as /data/tls.crt")
    files = tuple(
        replace(each, password_files=options.password_files, pointers=options.pointers)
        for each in given.targets
        if isinstance(each, FileTarget)
    )
    endpoints = _with_options([each for each in given.targets if isinstance(each, Endpoint)], options)
    # A file may come from any CA. So it is judged as a client only where the client is given.
    as_client = options.ca_file is not None or options.verifier is not None
    view = _view(options) if as_client or endpoints else None
    key = None if options.key is None else _given_key(options.key, options.password_files, now)
    if key is not None and not endpoints and all(each.role is FileRole.FOUND for each in files):
        raise UsageError("--key is compared with a certificate: give the file with the certificate, or an endpoint")
    names = () if options.name is None else (options.name,)
    if options.supported and not endpoints:
        raise UsageError("--supported is about endpoints: give one, such as HOST:PORT")
    manner = Manner(view if as_client else None, names, key, now)
    return _Task(given, files, endpoints, view, manner, options.supported)


def _view(options: CheckOptions) -> View:
    ca_file, verifier = options.ca_file, options.verifier or VerifierName.OPENSSL
    store = TrustStore("ca-file", PemBundle(ca_file)) if ca_file else TrustStore("system", SystemStore())
    trust = read_trust(store)
    if isinstance(trust, TrustUnreadable):
        raise UsageError(f"the trust store {printable(trust.path)} cannot be used: {trust.detail}")
    return View(Client(str(verifier), trust.name, verifier), trust)


def _with_options(endpoints: Iterable[Endpoint], options: CheckOptions) -> tuple[Endpoint, ...]:
    """Return the endpoints, to be looked at as the options say; raises UsageError."""
    proxy = _given_proxy(options.proxy, options.proxy_credentials_file)
    own = _given_client_certificate(options)
    if options.address is not None and not is_ip_address(options.address):
        raise UsageError(
            f"--address {printable(options.address)}: this is no IP address, such as 192.0.2.1 or 2001:db8::1"
        )
    if proxy is not None and options.addresses is not AddressChoice.ALL:
        raise UsageError("-4 and -6 say nothing of a proxy, which resolves the host itself: leave one of them out")
    return tuple(
        replace(
            each,
            host=options.address or each.host,
            server_name=each.server_name if options.address is None else each.verified_name,
            proxy=proxy,
            client_certificate=own,
            addresses=options.addresses,
            sni=options.sni,
            proxy_protocol=options.proxy_protocol,
            key_types=() if options.key_type is None else (options.key_type,),
        )
        for each in endpoints
    )


def _given_client_certificate(options: CheckOptions) -> ClientCertificate | None:
    """Return the files of the client's certificate; raises UsageError where they cannot be used."""
    certificate, key = options.client_certificate, options.client_key
    if certificate is None:
        if key is not None:
            raise UsageError("--client-key needs --client-certificate beside it")
        return None
    from probes.tls.client_certificate import Unusable, identity_of  # noqa: PLC0415 (few need it)

    files = ClientCertificate(certificate, key or certificate)
    found = identity_of(files)
    if isinstance(found, Unusable):
        raise UsageError(f"the client certificate cannot be used: {found.why}")
    return files


def _given_proxy(url: str | None, credentials_file: str | None) -> Proxy | None:
    """Return the proxy of a URL; raises UsageError."""
    if url is None:
        if credentials_file is not None:
            raise UsageError("--proxy-credentials-file needs --proxy beside it")
        return None
    try:
        return Proxy(*split_proxy(url), credentials_file)
    except ValueError:
        raise UsageError(
            f"--proxy {printable(url)}: this is no proxy; write http://HOST:PORT or socks5://HOST:PORT"
        ) from None


def _try_password(path: str) -> None:
    """Raise UsageError where the file with the password cannot be read."""
    try:
        with open(path, "rb"):
            return
    except OSError as error:
        raise UsageError(f"--password-file {printable(path)}: {unreadable(path, error).detail}") from None


def _given_key(path: str, password_files: tuple[str, ...], now: float) -> KeyFile:
    """Return the private key in the file at `path`; raises UsageError where it has no key to compare with."""
    where = printable(path, 4096)
    seen = look_at_file(FileTarget(where, path, FileRole.KEY, password_files=password_files), now)
    key = key_in(seen, where)
    if key is not None and key.public:
        return key
    if key is not None:
        raise UsageError(f"--key {where}: {key.why}")
    if seen.failure is not None:
        raise UsageError(f"--key {where}: {seen.failure.detail}")
    raise UsageError(
        f"--key {where}: it holds no private key" + (f", it is {held}" if (held := called(seen.format)) else "")
    )


def _check_endpoints(task: _Task) -> list[Checked]:
    if task.view is None or not task.endpoints:
        return []
    import asyncio  # noqa: PLC0415 (files alone do not need it)

    return asyncio.run(_look_at_endpoints(task, task.view))


async def _look_at_endpoints(task: _Task, view: View) -> list[Checked]:
    import asyncio  # noqa: PLC0415 (files alone do not need it, nor the next one)

    from probes.tls.drive import look  # noqa: PLC0415

    endpoints, key, now = task.endpoints, task.manner.key, task.now
    room = asyncio.Semaphore(_CONCURRENCY)

    async def one(endpoint: Endpoint) -> Checked:
        async with room:
            observation: EndpointObservation = await look(endpoint, now)
            supported = await _supported(endpoint, observation, now) if task.supported else None
        # There is no second look that could be awaited.
        context = EndpointContext(endpoint, (view,), failures_in_a_row=UNREACHABLE_AFTER)
        findings = [*assess_endpoint(observation, context, now).findings, *(key.exposed if key else ())]
        findings += [found for each in supported or () for found in judge_supported(each, endpoint.tls)]
        chain = observation.presented[0].chain if observation.presented else ()
        if key is not None and chain:
            findings += judge_match(chain[0], key.public, harmless(key.where))
        return Checked(
            endpoint.name,
            tuple(findings),
            chain,
            bool(observation.presented),
            observation.presented,
            key=key,
            supported=supported,
            tls=endpoint.tls,
            addresses_tried=len(observation.addresses),
        )

    return list(await asyncio.gather(*map(one, endpoints)))


async def _supported(endpoint: Endpoint, observation: EndpointObservation, now: float) -> tuple[Supported, ...]:
    """Return what each address takes that answered, asked one after the other."""
    from probes.tls.inquire import inquire  # noqa: PLC0415 (only this option needs it)

    addresses = dict.fromkeys(each.address for each in observation.presented)
    return tuple([await inquire(endpoint, each, now) for each in addresses])


def _unsearched(directory: Directory) -> Iterator[Checked]:
    """Yield each path that could not be searched: nothing is known of the files there."""
    for name, why in directory.unreadable.items():
        detail = sentence("{}: {}", why.reason, why.detail)
        yield Checked(name, (finding(Code.UNREADABLE, detail, severity=Severity.NOTICE),))


def _show(
    screen: Screen,
    checked: Sequence[Checked],
    left_out: Iterable[tuple[Directory, Sequence[PassedOverPath]]],
    task: _Task,
) -> None:
    for each in checked:
        screen.target(harmless(each.target), each.verdict, each.findings, _notes(each, task.anchors))
        for supported in each.supported or ():
            _show_supported(screen, supported, each.tls)
        shown = list(_certificates(each))
        for position, (certificate, alias) in enumerate(shown[:_BUNDLE]):
            issuer = issuing_key(certificate, (*each.chain, *task.anchors))
            screen.certificate(position, certificate, task.now, issuer, alias)
        if len(shown) > _BUNDLE:
            screen.say("     and {} more certificates; --json shows all", len(shown) - _BUNDLE, style="dim")
    if not checked:
        screen.say("No certificate was found.", style="magenta")
    for directory, some in left_out:
        _show_passed_over(screen, directory, some)


def _show_supported(screen: Screen, supported: Supported, allowed: AllowedTLS) -> None:
    """Print everything that an endpoint takes: of each version, what is not allowed comes first."""
    screen.say("{} was asked in {} connections, and takes:", supported.address, supported.connections)
    rows = [(harmless(one.version), *row) for one in supported.versions for row in _taken(one, allowed)]
    screen.table(("version", "allowed", "takes"), rows)
    hybrid = supported.hybrid_groups
    if not hybrid:
        said = Printable("no post-quantum group: who records the traffic today may read it with a quantum computer")
    elif supported.is_classical_fallback:
        said = sentence("the post-quantum groups {}, and classical ones beside", listed(list(map(harmless, hybrid))))
    else:
        said = sentence("the post-quantum groups {} alone", listed(list(map(harmless, hybrid))))
    screen.entry("     groups  ", said, "dim", "dim")
    for why in supported.unclear:
        screen.entry("     unclear ", sentence("the server may take more: it {}", why), "magenta", "magenta")


def _taken(one: SupportedVersion, allowed: AllowedTLS) -> Iterator[tuple[Printable, Printable]]:
    """Yield what is taken with one version, each with whether it is allowed."""
    version_allowed = one.version in allowed.protocols
    by_fault: dict[bool, list[Printable]] = {True: [], False: []}
    for suite in one.suites:
        by_fault[version_allowed and cipher_fault(suite, allowed) is None].append(harmless(suite))
    for is_allowed in (False, True):
        if by_fault[is_allowed]:
            yield Printable("yes" if is_allowed else "NO"), listed(by_fault[is_allowed], " ")
    if one.groups:
        yield Printable(""), sentence("groups: {}", listed(list(map(harmless, one.groups)), " "))
    if one.prime_bits:
        yield Printable(""), sentence("a Diffie-Hellman exchange with a prime of {} bits", one.prime_bits)
    if one.signatures:
        yield Printable(""), sentence("signed by: {}", listed(list(map(harmless, one.signatures)), " "))


def _certificates(checked: Checked) -> Iterator[tuple[Certificate, Printable]]:
    """Yield what a target presents, or what the entries of a keystore hold, each with its alias."""
    if checked.keystore is None or not checked.keystore.entries:
        yield from ((each, Printable("")) for each in checked.chain)
        return
    for entry in checked.keystore.entries:
        yield from ((each, entry.alias) for each in entry.certificates)


def _keystore_notes(keystore: Keystore[Certificate], form: FileFormat | None) -> Iterator[Printable]:
    kinds = Counter(each.kind for each in keystore.entries)
    counts = [sentence("{}: {}", _CALLED[kind], kinds[kind]) for kind in EntryKind if kinds[kind]]
    held = listed(counts) or Printable("no entry")
    if form is not None and not is_keystore(form):
        yield sentence("{}; {}", harmless(called(form)), held)
    else:
        yield sentence("a keystore, {}; {}", _INTEGRITY[keystore.integrity], held)
    secret = [each.alias for each in keystore.entries if each.kind is EntryKind.SECRET_KEY]
    if secret:
        yield sentence("secret keys, which are not read: {}", listed(secret[:_NAMED]))


def _of_staple(staple: OCSPAnswer | OCSPFault) -> Printable:
    if isinstance(staple, OCSPFault):
        return sentence("the OCSP response in the handshake {}", staple.why)
    said = sentence("the OCSP response in the handshake says {}, as of {}", staple.status, moment(staple.this_update))
    if staple.next_update is not None:
        said = sentence("{}, until {}", said, moment(staple.next_update))
    return said if staple.signer is not None else sentence("{}; but {}", said, staple.doubt)


def _notes(checked: Checked, anchors: Sequence[Certificate]) -> Iterator[Printable]:
    if checked.addresses_tried > 1:
        answering = len({each.address for each in checked.addresses})
        yield sentence("{} of {} addresses answer", answering, checked.addresses_tried)
    for one in checked.addresses:
        negotiated = harmless(f"{one.address}: {one.version}, {one.cipher} {one.group}".rstrip())
        yield sentence("{}, a handshake of {} bytes", negotiated, one.handshake_bytes)
        if one.client_certificate in _OF_CLIENT_CERTIFICATE:
            yield sentence("{}: {}", one.address, _OF_CLIENT_CERTIFICATE[one.client_certificate])
        if (staple := staple_of(one, anchors)) is not None:
            yield sentence("{}: {}", one.address, _of_staple(staple))
    if checked.keystore is not None:
        yield from _keystore_notes(checked.keystore, checked.format)
    for known in checked.lists:
        due = Printable("an unknown time") if known.next_update is None else moment(known.next_update)
        kind = Printable("revocation list" if known.base is None else "delta revocation list")
        yield sentence("the {} of {}, whose next one is due at {}", kind, known.issuer, due)
    if not checked.chain and checked.known and not checked.lists:
        yield Printable("a private key without a certificate")
    if any(each.detail.startswith(f"{UnreadableReason.LOCKED}:") for each in checked.findings):
        yield Printable("--password-file FILE opens it, if FILE holds its password")
    if checked.key is not None and checked.key_belongs:
        also = [harmless(each) for each in checked.key.also]
        more = sentence("; the same key is in {}", listed(also[:_NAMED])) if also else Printable("")
        yield sentence("its private key is {}{}", harmless(checked.key.where), more)
    elif checked.key is not None and checked.key.why:
        where, why = harmless(checked.key.where), harmless(checked.key.why)
        yield sentence("its private key was not compared, {}: {}", where, why)


def _show_passed_over(screen: Screen, directory: Directory, some: Sequence[PassedOverPath]) -> None:
    if not some:
        return
    screen.say("{} passed over in {}:", len(some), harmless(directory.name))
    by_reason: dict[str, list[str]] = {}
    for each in some:
        by_reason.setdefault(each.why, []).append(each.path.removeprefix(f"{printable(directory.path, 4096)}/"))
    for why, names in sorted(by_reason.items(), key=lambda each: -len(each[1])):
        more = f" and {len(names) - _NAMED} more; --json names all" if len(names) > _NAMED else ""
        screen.entry(f"{len(names):>6}  ", harmless(f"{why}: {', '.join(names[:_NAMED])}{more}"), style="dim")
