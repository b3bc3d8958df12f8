"""Looks at the files of components: one set, one reading, and nothing said of a state between two writes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from config.model import (
    Artefacts,
    Client,
    Component,
    Config,
    Endpoint,
    FileTarget,
    PemBundle,
    Settings,
    TrustStore,
)
from config.text import Printable
from config.vocabulary import Code, FileContent, FileRole, Severity, UnreadableReason
from monitor.lab.ca import Authority, Issued, KeyType, new_key
from monitor.lab.servers import LocalServer, write_site
from monitor.look import sets
from monitor.look.endpoints import EndpointMonitor
from monitor.look.reading import Here, believed
from monitor.look.reading import LastReading as Told
from monitor.state import pending as pending_rules
from monitor.state.endpoints import EndpointRegistry
from monitor.state.events import FindingCleared, FindingRaised, PresentedChanged, StateEvent
from monitor.state.messages import ServiceTouched
from probes.certificate import Certificate, certificate
from probes.file import look_at_file
from probes.observation import FileIdentity, FileObservation, Unreadable
from probes.set import SetReading, read_set
from tests.kit.crl import Entry, crl, crl_pem
from tests.kit.keystore import PASSWORD, keystore
from tests.kit.monitors import Kept, file_monitor, until

ROOT = Authority.root()
ISSUING = ROOT.intermediate()
NAME = "www.example.com"
SETTLE = 0.15
LONG = 3600.0


def issue() -> Issued:
    """Return a certificate with a key of its own, as each renewal has."""
    return ISSUING.issue(NAME, key=new_key(KeyType.P256))


@dataclass
class SetScene:
    """A component on disk, perhaps with a server of its own."""

    artefacts: Artefacts
    directory: Path
    server: LocalServer | None = None

    def config(self, pending: float = LONG, grace: float = LONG) -> Config:
        bundle = self.directory / "root.pem"
        bundle.write_bytes(ROOT.pem())
        files = tuple(
            FileTarget(
                f"web/{role}",
                path,
                role,
                "web",
                password_files=(self.artefacts.password_file,) if self.artefacts.password_file else (),
            )
            for role, path in self.artefacts.files.items()
        )
        endpoints: Mapping[str, Endpoint] = {}
        if self.server is not None:
            host, port = self.server.host, self.server.port
            endpoints = {"e": Endpoint("e", host, port, NAME, every=LONG, clients=("browser",), component="web")}
        web = Component("web", self.artefacts, tuple(endpoints), ("browser",), not_served_after=grace)
        return Config(
            Settings(settle=SETTLE, pending=pending),
            files=files,
            endpoints=MappingProxyType(endpoints),
            components=MappingProxyType({"web": web}),
            trust_stores=MappingProxyType({"lab": TrustStore("lab", PemBundle(str(bundle)))}),
            clients=MappingProxyType({"browser": Client("browser", "lab")}),
        )


@asynccontextmanager
async def keep_looking(config: Config, read: sets.ReadSet | None = None) -> AsyncIterator[Kept]:
    """Look at files and endpoints, which tell each other what changed, as in the daemon."""
    async with file_monitor(config, read=read) as kept:
        assert kept.registry is not None
        with ThreadPoolExecutor(1) as worker:
            assert kept.set_registry is not None
            endpoints = EndpointMonitor(EndpointRegistry(kept.set_registry), kept.bus, worker)
            kept.on_component = lambda _: endpoints.hasten(config.endpoints)
            kept.endpoints = endpoints
            endpoints.reconfigure()
            running = asyncio.create_task(endpoints.run())
            try:
                await until(lambda: all(kept.page.shown[name].last_look for name in config.endpoints))
                yield kept
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


def about_findings(kept: Kept) -> list[StateEvent]:
    return [each for each in kept.events if isinstance(each, FindingRaised | FindingCleared)]


def pending(kept: Kept, target: str) -> set[Code]:
    return {code for code, _ in kept.page.shown[target].pending}


async def at_rest(kept: Kept, leaf: str, issued: Issued) -> None:
    """Wait until that certificate is known, and the set that it is in was judged."""
    await until(lambda: kept.page.shown[leaf].presented[:1] == (leaf_of(issued),))
    assert kept.sets is not None
    await until(lambda: kept.sets is not None and kept.sets.is_at_rest("web"))


def leaf_of(issued: Issued) -> Certificate:
    return certificate(issued.der())


def combined(issued: Issued) -> bytes:
    return issued.key_pem() + issued.chain_pem()


@pytest.mark.parametrize(("role", "content"), [(FileRole.COMBINED, combined), (FileRole.KEYSTORE, keystore)])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_renewal_of_one_file_with_a_new_key_is_no_finding_for_a_moment(
    tmp_path: Path, role: FileRole, content: Callable[[Issued], bytes], in_place: bool
) -> None:
    async def story() -> None:
        path = tmp_path / "site"
        path.touch(0o600)
        path.write_bytes(content(issue()))
        password = tmp_path / "password"
        password.write_bytes(PASSWORD)
        paths: dict[str, Any] = {str(role): str(path)}
        scene = SetScene(Artefacts(**paths, password_file=str(password)), tmp_path)
        async with file_monitor(scene.config()) as kept:
            for _ in range(3):
                renewed = issue()
                if in_place:
                    path.write_bytes(content(renewed))
                else:
                    replace_by_rename(path, content(renewed))
                await at_rest(kept, f"web/{role}", renewed)
            assert about_findings(kept) == []
            assert pending(kept, f"web/{role}") == set()

    asyncio.run(story())


def replace_by_rename(path: Path, content: bytes) -> None:
    new = path.with_name(".new")
    new.touch(0o600)
    new.write_bytes(content)
    new.rename(path)


def pair(directory: Path) -> Artefacts:
    return Artefacts(certificate=str(directory / "site.crt"), key=str(directory / "site.key"))


def write_pair(artefacts: Artefacts, issued: Issued, *, only: FileRole | None = None) -> None:
    for path, content, role in (
        (artefacts.key, issued.key_pem(), FileRole.KEY),
        (artefacts.certificate, issued.chain_pem(), FileRole.CERTIFICATE),
    ):
        if path is not None and only in {None, role}:
            replace_by_rename(Path(path), content)


def test_a_revocation_list_in_a_components_file_is_evidence_as_one_in_any_file(tmp_path: Path) -> None:
    async def story() -> None:
        path, issued, now = tmp_path / "site.pem", issue(), time.time()
        path.touch(0o600)
        path.write_bytes(combined(issued) + crl_pem(crl(ISSUING, now, Entry(issued, now - 60))))
        async with file_monitor(SetScene(Artefacts(combined=str(path)), tmp_path).config()) as kept:
            await at_rest(kept, "web/combined", issued)
            assert kept.registry is not None
            (known,) = kept.registry.revocations.all.lists
            assert known.issuer_name == leaf_of(issued).outline().issuer

    asyncio.run(story())


def test_a_foreign_key_in_the_same_file_is_seen_at_once_and_told_when_it_stays(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "site.pem"
        path.touch(0o600)
        path.write_bytes(combined(issue()))
        scene = SetScene(Artefacts(combined=str(path)), tmp_path)
        async with file_monitor(scene.config(pending=0.5)) as kept:
            path.write_bytes(issue().key_pem() + issue().chain_pem())
            await until(lambda: pending(kept, "web/combined") == {Code.KEY_MISMATCH})
            assert kept.codes("web/combined") == set()
            await until(lambda: kept.codes("web/combined") == {Code.KEY_MISMATCH})
            assert pending(kept, "web/combined") == set()

    asyncio.run(story())


@pytest.mark.parametrize("first", [FileRole.KEY, FileRole.CERTIFICATE])
def test_a_pair_that_is_written_with_a_pause_between_is_pending_and_nobody_s_news(
    tmp_path: Path, first: FileRole
) -> None:
    async def story() -> None:
        scene = SetScene(pair(tmp_path), tmp_path)
        write_pair(scene.artefacts, issue())
        async with file_monitor(scene.config()) as kept:
            renewed = issue()
            second = FileRole.CERTIFICATE if first is FileRole.KEY else FileRole.KEY
            write_pair(scene.artefacts, renewed, only=first)
            await until(lambda: pending(kept, "web/certificate") == {Code.KEY_MISMATCH})
            write_pair(scene.artefacts, renewed, only=second)
            await until(lambda: pending(kept, "web/certificate") == set())
            assert about_findings(kept) == []

    asyncio.run(story())


def test_what_is_pending_for_too_long_is_told_with_the_time_at_which_it_began(tmp_path: Path) -> None:
    async def story() -> None:
        scene = SetScene(pair(tmp_path), tmp_path)
        write_pair(scene.artefacts, issue())
        async with file_monitor(scene.config(pending=0.6)) as kept:
            write_pair(scene.artefacts, issue(), only=FileRole.KEY)
            await until(lambda: bool(pending(kept, "web/certificate")))
            began = next(iter(kept.page.shown["web/certificate"].pending.values())).since
            await until(lambda: kept.codes("web/certificate") == {Code.KEY_MISMATCH})
            raised = next(iter(kept.page.shown["web/certificate"].findings.values()))
            assert raised.since == began
            assert time.time() - began >= 0.6

    asyncio.run(story())


def test_facts_follow_a_write_at_once_although_the_verdict_waits(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "site.pem"
        path.touch(0o600)
        path.write_bytes(combined(issue()))
        scene = SetScene(Artefacts(combined=str(path)), tmp_path)
        config = scene.config()
        slow = replace(config, settings=replace(config.settings, settle=LONG))
        os.utime(path)
        async with file_monitor(slow) as kept:
            renewed = issue()
            path.write_bytes(combined(renewed))
            await until(lambda: kept.page.shown["web/combined"].presented[:1] == (leaf_of(renewed),))
            assert not [each for each in kept.events if isinstance(each, PresentedChanged)]

    asyncio.run(story())


def test_a_set_that_is_never_left_alone_is_unsettled_and_keeps_its_last_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "UNREST", 0.5)

    async def story() -> None:
        scene = SetScene(pair(tmp_path), tmp_path)
        write_pair(scene.artefacts, issue())
        assert scene.artefacts.key is not None
        os.chmod(scene.artefacts.key, 0o644)
        async with file_monitor(scene.config()) as kept:
            await until(lambda: kept.codes("web/key") == {Code.KEY_EXPOSED})
            begin = time.monotonic()
            while Code.UNSETTLED not in kept.codes("web/certificate"):
                assert time.monotonic() - begin < 10
                write_pair(scene.artefacts, issue(), only=FileRole.CERTIFICATE)
                await asyncio.sleep(SETTLE / 4)
            assert kept.codes("web/certificate") == {Code.UNSETTLED}
            assert kept.codes("web/key") == {Code.KEY_EXPOSED}
            write_pair(scene.artefacts, issue())
            await until(lambda: kept.codes("web/certificate") == set())

    asyncio.run(story())


def test_a_set_that_is_written_to_for_ever_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exposed key is told after ten seconds of unrest, and all else once no renewal takes so long."""
    monkeypatch.setattr(sets, "UNREST", 0.3)

    async def story() -> None:
        scene = SetScene(pair(tmp_path), tmp_path)
        write_pair(scene.artefacts, issue())
        async with file_monitor(scene.config(pending=1.5)) as kept:
            await until(lambda: kept.sets is not None and kept.sets.is_at_rest("web"))
            began = time.monotonic()
            write_pair(scene.artefacts, issue(), only=FileRole.KEY)
            assert scene.artefacts.key is not None
            assert scene.artefacts.certificate is not None
            os.chmod(scene.artefacts.key, 0o644)
            seen: dict[Code, float] = {}
            while Code.KEY_MISMATCH not in seen:
                assert time.monotonic() - began < 10
                os.utime(scene.artefacts.certificate)
                await asyncio.sleep(SETTLE / 4)
                for code in kept.codes("web/certificate") | kept.codes("web/key"):
                    seen.setdefault(code, time.monotonic() - began)
            assert seen[Code.KEY_EXPOSED] < 1.5 <= seen[Code.KEY_MISMATCH]
            unsettled = kept.page.shown["web/certificate"].findings[Code.UNSETTLED, ""].finding
            assert unsettled.severity is Severity.WARNING
            write_pair(scene.artefacts, issue())
            await until(lambda: kept.codes("web/certificate") | kept.codes("web/key") == set())

    asyncio.run(story())


@contextmanager
def served(directory: Path) -> Iterator[SetScene]:
    """Give a component whose server serves what is on disk, until that is replaced and it is not reloaded."""
    first = issue()
    scene = SetScene(pair(directory), directory, LocalServer([write_site(str(directory / "served"), first)]))
    write_pair(scene.artefacts, first)
    assert scene.server is not None
    with scene.server:
        yield scene


def serve(scene: SetScene, issued: Issued) -> None:
    """Have the server take up what somebody put on disk."""
    assert scene.server is not None
    for site in scene.server.sites:
        site.install(issued)
    scene.server.reload()


def test_a_mixed_set_is_told_at_once_when_what_is_served_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_rules, "RESTART", 1.0)

    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config()) as kept:
                write_pair(scene.artefacts, issue(), only=FileRole.KEY)
                await until(lambda: pending(kept, "web/certificate") == {Code.KEY_MISMATCH})
                assert scene.server is not None
                scene.server.stop()
                while Severity.CRITICAL not in {
                    each.finding.severity for each in kept.page.shown["e"].findings.values()
                }:
                    await look_at_endpoints(kept)
                await until(lambda: kept.codes("web/certificate") == {Code.KEY_MISMATCH})

    asyncio.run(story())


def test_a_mixed_set_is_told_at_once_when_the_service_restarts_onto_it(tmp_path: Path) -> None:
    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config()) as kept:
                renewed = issue()
                write_pair(scene.artefacts, renewed, only=FileRole.CERTIFICATE)
                await until(lambda: Code.KEY_MISMATCH in pending(kept, "web/certificate"))
                serve(scene, renewed)
                while kept.page.shown["e"].presented[:1] != (leaf_of(renewed),):
                    await look_at_endpoints(kept)
                await until(lambda: Code.KEY_MISMATCH in kept.codes("web/certificate"))

    asyncio.run(story())


def test_a_service_that_takes_up_the_renewal_before_tells_nothing_of_the_one_under_way(tmp_path: Path) -> None:
    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config()) as kept:
                whole = issue()
                write_pair(scene.artefacts, whole)
                await at_rest(kept, "web/certificate", whole)
                write_pair(scene.artefacts, issue(), only=FileRole.KEY)
                await until(lambda: Code.KEY_MISMATCH in pending(kept, "web/certificate"))
                serve(scene, whole)
                while kept.page.shown["e"].presented[:1] != (leaf_of(whole),):
                    await look_at_endpoints(kept)
                # A further look at the set judges by what is served now.
                assert kept.sets is not None
                looked = kept.page.shown["web/certificate"].last_look
                kept.sets.look_again(ServiceTouched("web"))
                await until(lambda: kept.page.shown["web/certificate"].last_look != looked)
                assert about_findings(kept) == []
                assert Code.KEY_MISMATCH in pending(kept, "web/certificate")

    asyncio.run(story())


async def look_at_endpoints(kept: Kept) -> None:
    looks = len(kept.looks)
    assert kept.endpoints is not None
    kept.endpoints.hasten(["e"])
    await until(lambda: any(look.target == "e" for look in kept.looks[looks:]))


def test_an_intermediate_that_is_missing_on_disk_is_told_before_the_reload_that_would_break_clients(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config(pending=0.5)) as kept:
                renewed = issue()
                write_pair(scene.artefacts, renewed, only=FileRole.KEY)
                assert scene.artefacts.certificate is not None
                replace_by_rename(Path(scene.artefacts.certificate), renewed.pem())
                await until(lambda: Code.NEXT_RELOAD_BREAKS in pending(kept, "web/certificate"))
                await until(lambda: Code.NEXT_RELOAD_BREAKS in kept.codes("web/certificate"))
                found = kept.page.shown["web/certificate"].findings[Code.NEXT_RELOAD_BREAKS, "browser"].finding
                assert found.severity is Severity.WARNING
                assert "browser accepts e now" in found.detail
                assert "intermediate" in found.detail
                assert kept.codes("e") == set()
                write_pair(scene.artefacts, renewed)
                await until(lambda: kept.codes("web/certificate") == set())

    asyncio.run(story())


def test_the_grace_of_not_served_does_not_begin_anew_with_each_renewal(tmp_path: Path) -> None:
    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config(grace=1.5)) as kept:
                begin = time.monotonic()
                while Code.NOT_SERVED not in kept.codes("e"):
                    assert time.monotonic() - begin < 8
                    renewed = issue()
                    write_pair(scene.artefacts, renewed)
                    await at_rest(kept, "web/certificate", renewed)
                    await look_at_endpoints(kept)
                serve(scene, renewed)
                await look_at_endpoints(kept)
                await until(lambda: kept.codes("e") == set())
                write_pair(scene.artefacts, issue())
                await look_at_endpoints(kept)
                assert kept.codes("e") == set()

    asyncio.run(story())


def test_a_service_that_took_up_the_renewal_before_has_the_whole_grace_for_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config(grace=1.5)) as kept:
                first, second = issue(), issue()
                write_pair(scene.artefacts, first)
                await at_rest(kept, "web/certificate", first)
                await look_at_endpoints(kept)
                await asyncio.sleep(1.0)
                # Taken up, and the next one comes before anybody looked.
                serve(scene, first)
                write_pair(scene.artefacts, second)
                await at_rest(kept, "web/certificate", second)
                began = time.monotonic()
                while time.monotonic() - began < 0.8:
                    await look_at_endpoints(kept)
                    assert kept.codes("e") == set()
                    await asyncio.sleep(0.1)
                await until(lambda: Code.NOT_SERVED in kept.codes("e"))

    asyncio.run(story())


def test_what_is_not_whole_on_disk_is_not_missed_on_the_wire(tmp_path: Path) -> None:
    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config(grace=0.3)) as kept:
                write_pair(scene.artefacts, issue(), only=FileRole.CERTIFICATE)
                await until(lambda: bool(pending(kept, "web/certificate")))
                await asyncio.sleep(0.4)
                await look_at_endpoints(kept)
                assert kept.codes("e") == set()

    asyncio.run(story())


class Closed:
    """Reads a set that only the actor may read, until the actor is gone."""

    def __init__(self, *, seen: bool = False) -> None:
        self.gone = False
        self._seen = seen
        """It can be seen that the files are others by now."""
        self._last: Told | None = None

    async def __call__(self, _component: str, targets: Sequence[FileTarget], now: float) -> SetReading:
        reading = read_set(targets, now)
        if not self.gone:
            self._last = Told(tuple(targets), reading, now)
            return reading
        denied = Unreadable(UnreadableReason.PERMISSION_DENIED, Printable("reading it is not permitted"))
        nothing = [FileObservation(each.name, now, None, FileContent.NOTHING, failure=denied) for each in targets]
        identities = [FileIdentity(0, 0, 0, 0, 0) if self._seen else denied for _ in targets]
        here = Here(SetReading(tuple(nothing)), tuple(identities))
        return believed(here, targets, self._last, Printable("no actor answers"), now, early=False)


async def serve_and_look(scene: SetScene, kept: Kept, issued: Issued) -> None:
    """Have the server take that up, and look until it is seen."""
    serve(scene, issued)
    while leaf_of(issued) not in kept.page.shown["e"].presented:
        await look_at_endpoints(kept)


def was_missed(kept: Kept) -> bool:
    return any(isinstance(each, FindingRaised) and each.finding.code is Code.NOT_SERVED for each in kept.events)


@pytest.mark.parametrize("seen", [False, True], ids=["nothing seen", "seen to be others"])
@pytest.mark.parametrize("asked", [False, True], ids=["read before", "asked first"])
def test_a_renewal_in_files_that_nobody_reads_is_not_held_against_what_lay_there_before(
    tmp_path: Path, seen: bool, asked: bool
) -> None:
    """Nobody reads them since the actor has gone; the server took up what lies there now."""

    async def story() -> None:
        reader = Closed(seen=seen)
        with served(tmp_path) as scene:
            async with keep_looking(scene.config(grace=0.0), reader) as kept:
                assert kept.sets is not None
                await until(lambda: kept.sets is not None and kept.sets.is_at_rest("web"))
                reader.gone = True
                if asked:
                    kept.sets.look_again(ServiceTouched("web"))
                    await until(lambda: kept.page.shown["web/key"].failure is not None)
                renewed = issue()
                await serve_and_look(scene, kept, renewed)
                await until(lambda: kept.page.shown["web/key"].failure is not None)
                await until(lambda: not kept.page.shown["e"].pending)
                await look_at_endpoints(kept)
                assert not was_missed(kept)

    asyncio.run(story())


def test_what_is_not_served_is_told_soon_where_the_files_are_read_since(tmp_path: Path) -> None:
    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config(grace=0.0), Closed()) as kept:
                await until(lambda: kept.sets is not None and kept.sets.is_at_rest("web"))
                await serve_and_look(scene, kept, issue())
                assert not was_missed(kept)
                await until(lambda: Code.NOT_SERVED in kept.codes("e"))

    asyncio.run(story())


def test_a_refused_connection_is_pending_and_told_when_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_rules, "RESTART", 1.0)

    async def story() -> None:
        with served(tmp_path) as scene:
            async with keep_looking(scene.config()) as kept:
                assert scene.server is not None
                scene.server.stop()
                await look_at_endpoints(kept)
                assert (kept.codes("e"), pending(kept, "e")) == (set(), {Code.UNREACHABLE})
                assert kept.page.shown["e"].up is False
                await until(lambda: kept.codes("e") == {Code.UNREACHABLE})

    asyncio.run(story())


def test_two_components_may_share_a_file(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "site.pem"
        path.touch(0o600)
        path.write_bytes(combined(issue()))
        config = SetScene(Artefacts(combined=str(path)), tmp_path).config()
        other = replace(config.components["web"], name="mail")
        files = (*config.files, FileTarget("mail/combined", str(path), FileRole.COMBINED, "mail"))
        components = MappingProxyType({**config.components, "mail": other})
        async with file_monitor(replace(config, files=files, components=components)) as kept:
            renewed = issue()
            path.write_bytes(combined(renewed))
            for target in ("web/combined", "mail/combined"):
                await at_rest(kept, target, renewed)

    asyncio.run(story())


def test_a_set_that_is_swapped_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """Kubelet swaps `..data` between the look at the certificate and the look at the key."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        write_pair(pair(tmp_path / version), issue())
    (tmp_path / "..data").symlink_to("..1")
    artefacts = pair(tmp_path / "..data")
    targets = [FileTarget(role, path, role) for role, path in artefacts.files.items()]
    looks = 0

    def look(target: FileTarget, now: float) -> FileObservation:
        nonlocal looks
        looks += 1
        seen = look_at_file(target, now)
        if looks == 1:
            (tmp_path / "..new").symlink_to("..2")
            os.replace(tmp_path / "..new", tmp_path / "..data")
        return seen

    reading = read_set(targets, time.time(), look)
    certificate, key = reading.observations
    assert not reading.moved
    assert certificate.certificates[0].public_key_sha256() in key.keys


def test_a_set_that_moves_at_each_attempt_says_so(tmp_path: Path) -> None:
    artefacts = pair(tmp_path)
    write_pair(artefacts, issue())
    targets = [FileTarget(role, path, role) for role, path in artefacts.files.items()]

    def look(target: FileTarget, now: float) -> FileObservation:
        seen = look_at_file(target, now)
        write_pair(artefacts, issue())
        return seen

    assert read_set(targets, time.time(), look).moved
