"""After a restart, a file that is as it was is judged again only where another verdict is possible."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.model import (
    Config,
    Endpoint,
    FileTarget,
    PemBundle,
    Settings,
    Threshold,
    Thresholds,
    TrustStore,
    Waiver,
    Watch,
)
from config.vocabulary import Code, FileContent, FileRole
from monitor.lab.ca import DAY, Authority
from monitor.look import job
from monitor.state import files, rules
from monitor.state.events import FileJudged, KeptVerdict
from monitor.state.rules import code_digest, rules_of
from monitor.state.target import TargetState
from monitor.state.trust import read_trust_context
from probes.assess import FileContext, assess_file
from probes.certificate import certificate
from probes.finding import Assessment
from probes.observation import FileObservation
from tests.kit.crl import crl, crl_pem
from tests.kit.monitors import Kept, file_monitor, until

ROOT, OTHER = Authority.root(), Authority.root("Other")
NOW = time.time()


@dataclass
class Host:
    """A file with a certificate that ends soon, and the trust store by which it is judged."""

    directory: Path
    path: Path
    config: Config
    judged: list[str]
    """The files that were judged, each time."""

    async def run(self, remembered: Sequence[TargetState] = ()) -> Kept:
        """Run until every file was looked at."""
        self.judged.clear()
        async with file_monitor(self.config, remembered) as kept:
            return kept

    def remembered(self, kept: Kept) -> list[TargetState]:
        """Return what the database gives back after a restart."""
        return [
            TargetState(
                known.target,
                known.kind,
                known.location,
                presented=known.presented,
                since=known.since,
                findings=known.findings,
                identity=known.identity,
                kept=known.kept,
                expiry=None if known.kept is None else known.kept.expiry,
                failure=known.failure,
            )
            for known in kept.page.shown.values()
        ]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    judged: list[str] = []

    def judge(observation: FileObservation, context: FileContext, now: float) -> Assessment:
        judged.append(observation.target)
        return assess_file(observation, context, now)

    monkeypatch.setattr(job, "assess_file", judge)
    path, store = tmp_path / "site.pem", tmp_path / "anchors"
    path.write_bytes(ROOT.issue("www.example.com", not_before=NOW - 70 * DAY, not_after=NOW + 20 * DAY).pem())
    store.write_bytes(ROOT.pem())
    watch = Watch((str(tmp_path / "*.pem"),), trust_store="site")
    stores = MappingProxyType({"site": TrustStore("site", PemBundle(str(store)))})
    return Host(tmp_path, path, Config(settings=Settings(settle=0), watches=(watch,), trust_stores=stores), judged)


def test_a_file_that_is_as_it_was_is_not_judged_again_and_shown_as_before(host: Host) -> None:
    async def story() -> None:
        first = await host.run()
        assert host.judged == [str(host.path)]
        again = await host.run(host.remembered(first))
        assert (host.judged, again.events) == ([], [])
        before, after = first.page.shown[str(host.path)], again.page.shown[str(host.path)]
        assert after.last_look is not None
        assert {code for code, _ in after.findings} == {Code.EXPIRING}
        assert replace(after, last_look=None, format=None) == replace(before, last_look=None, format=None)

    asyncio.run(story())


def test_a_file_that_came_meanwhile_with_the_key_of_one_that_is_as_it_was_is_told_of_both(host: Host) -> None:
    async def story() -> None:
        key = Authority.root("Of the key").key
        host.path.write_bytes(ROOT.issue("www.example.com", key=key).pem())
        first = await host.run()
        assert first.codes(str(host.path)) == set()
        other = host.directory / "other.pem"
        other.write_bytes(ROOT.issue("other.example.com", key=key).pem())
        async with file_monitor(host.config, host.remembered(first)) as kept:
            await until(lambda: all(Code.KEY_SHARED in kept.codes(str(each)) for each in (host.path, other)))

    asyncio.run(story())


def _another_certificate(host: Host) -> None:
    host.path.write_bytes(ROOT.issue("www.example.com").pem())


def _another_trust_store(host: Host) -> None:
    (host.directory / "anchors").write_bytes(OTHER.pem())


def _no_trust_store(host: Host) -> None:
    (host.directory / "anchors").unlink()


def _other_thresholds(host: Host) -> None:
    near = Threshold(0.1, 1)
    host.config = replace(host.config, watches=(replace(host.config.watches[0], thresholds=Thresholds(near, near)),))


def _a_waiver(host: Host) -> None:
    waiver = Waiver(str(host.path), Code.EXPIRING, "it is being replaced", int(time.time() + DAY))
    host.config = replace(host.config, waivers=(waiver,))


@pytest.mark.parametrize(
    "change", [_another_certificate, _another_trust_store, _no_trust_store, _other_thresholds, _a_waiver]
)
def test_a_change_of_what_a_verdict_depends_on_has_the_file_judged_again(
    host: Host, change: Callable[[Host], None]
) -> None:
    async def story() -> None:
        remembered = host.remembered(await host.run())
        change(host)
        again = await host.run(remembered)
        assert host.judged == [str(host.path)]
        anew = await host.run()
        found, expected = (
            {key: raised.finding for key, raised in each.page.shown[str(host.path)].findings.items()}
            for each in (again, anew)
        )
        assert found == expected
        # The next restart knows it.
        await host.run(host.remembered(again))
        assert host.judged == []

    asyncio.run(story())


def _other_code(host: Host, known: TargetState, patch: pytest.MonkeyPatch) -> TargetState:
    patch.setattr(files, "code_digest", lambda: "of a later version")
    return known


def _clock_put_back(host: Host, known: TargetState, patch: pytest.MonkeyPatch) -> TargetState:
    assert known.kept is not None
    return replace(known, kept=replace(known.kept, since=time.time() + 60))


def _boundary_crossed(host: Host, known: TargetState, patch: pytest.MonkeyPatch) -> TargetState:
    assert known.kept is not None
    return replace(known, kept=replace(known.kept, until=time.time() - 1))


def _nothing_kept(host: Host, known: TargetState, patch: pytest.MonkeyPatch) -> TargetState:
    return replace(known, kept=None)


@pytest.mark.parametrize("meanwhile", [_other_code, _clock_put_back, _boundary_crossed, _nothing_kept])
def test_another_version_or_time_has_the_file_judged_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[..., TargetState]
) -> None:
    async def story() -> None:
        (known,) = host.remembered(await host.run())
        again = await host.run([meanwhile(host, known, monkeypatch)])
        assert host.judged == [str(host.path)]
        assert [type(each) for each in again.events] == [FileJudged]

    asyncio.run(story())


def test_a_verdict_of_before_changes_at_the_second_at_which_time_makes_it_change(host: Host) -> None:
    async def story() -> None:
        host.path.write_bytes(ROOT.issue("www.example.com", not_after=int(time.time()) + 2).pem())
        remembered = host.remembered(await host.run())
        host.judged.clear()
        async with file_monitor(host.config, remembered) as kept:
            assert host.judged == []
            await until(lambda: Code.EXPIRED in kept.codes(str(host.path)))

    asyncio.run(story())


def test_a_reload_that_changes_nothing_for_files_has_none_judged_again(host: Host) -> None:
    async def story() -> None:
        async with file_monitor(host.config) as kept:
            assert kept.registry is not None
            assert kept.files is not None
            endpoints = MappingProxyType({"web": Endpoint("web", "127.0.0.1", 1)})
            for config, judged in (
                (replace(host.config, endpoints=endpoints), 0),
                (replace(host.config, watches=(replace(host.config.watches[0], labels=(("team", "web"),)),)), 1),
            ):
                host.judged.clear()
                looks = len(kept.looks)
                kept.registry.trust_context, _ = read_trust_context(config, kept.registry.trust_context)
                kept.files.rescan()
                await until(lambda looks=looks: len(kept.looks) > looks)  # type: ignore[misc]
                assert len(host.judged) == judged

    asyncio.run(story())


def test_a_list_beside_a_certificate_is_read_again_after_a_restart(host: Host) -> None:
    async def story() -> None:
        now = time.time()
        host.path.write_bytes(ROOT.issue("www.example.com").pem() + crl_pem(crl(ROOT, now)))
        remembered = host.remembered(await host.run())
        again = await host.run(remembered)
        assert len(again.page.shown[str(host.path)].lists) == 1

    asyncio.run(story())


def test_a_verdict_is_not_remembered_while_lists_have_a_say_in_it(host: Host) -> None:
    async def story() -> None:
        (host.directory / "list.pem").write_bytes(crl_pem(crl(ROOT, time.time())))
        async with file_monitor(host.config) as kept:
            assert kept.files is not None
            looks = len(kept.looks)
            kept.files.rescan()
            await until(lambda: len(kept.looks) >= looks + 2)
            assert kept.page.shown[str(host.path)].kept is None

    asyncio.run(story())


def test_a_pending_finding_leaves_nothing_to_be_kept(host: Host) -> None:
    async def story() -> None:
        host.config = replace(host.config, settings=Settings(settle=60))
        host.path.write_bytes(OTHER.issue("www.example.com").pem())
        async with file_monitor(host.config) as kept:
            state = kept.page.shown[str(host.path)]
            assert state.pending
            assert state.kept is None

    asyncio.run(story())


def test_a_file_is_told_to_be_judged_after_all_that_was_found_in_it(host: Host) -> None:
    """A daemon that is killed between two records judges it again, and never believes a verdict without findings."""

    async def story() -> None:
        kept = await host.run()
        assert isinstance(kept.events[-1], FileJudged)
        assert [type(each) for each in kept.events].count(FileJudged) == 1

    asyncio.run(story())


RULES = {
    "the watches": lambda config: replace(config, watches=(replace(config.watches[0], exclude=("/x",)),)),
    "a waiver": lambda config: replace(config, waivers=(Waiver("x", Code.EXPIRED, "why", 1),)),
}


@pytest.mark.parametrize("what", RULES)
def test_the_rules_are_others_after_a_change_of(what: str, host: Host) -> None:
    before, after = (read_trust_context(each)[0] for each in (host.config, RULES[what](host.config)))
    assert rules_of(before, "code") != rules_of(after, "code")
    assert rules_of(before, "code") != rules_of(before, "other code")
    assert rules_of(before, "code") == rules_of(replace(before, config=replace(host.config, host="b")), "code")


def test_the_code_is_another_once_a_module_of_it_was_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = ModuleType("package")
    package.__file__ = str(tmp_path / "__init__.py")
    module = tmp_path / "judge" / "time.py"
    module.parent.mkdir()
    module.write_text("after = 1\n")
    monkeypatch.setattr(rules, "_JUDGING", (package,))
    digests = []
    for _ in range(2):
        code_digest.cache_clear()
        digests.append(code_digest())
        # The same size, and even the same time of modification.
        times = module.stat().st_mtime_ns
        module.write_text("after = 2\n")
        os.utime(module, ns=(times, times))
    code_digest.cache_clear()
    assert digests[0] != digests[1]


LEAF = certificate(ROOT.issue("www.example.com").der())
TIMES = st.integers(0, 400 * 86_400)


@given(begin=TIMES, lifetime=TIMES, moments=st.tuples(TIMES, TIMES))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_kept_verdict_that_holds_is_the_one_that_would_be_given(
    begin: int, lifetime: int, moments: tuple[int, int]
) -> None:
    given_at, now = moments
    leaf = replace(LEAF, not_before=begin, not_after=begin + lifetime)
    observation = FileObservation("site", 0.0, None, FileContent.LEAF, (leaf,))
    context = FileContext(FileTarget("site", "/site", FileRole.FOUND))
    then = assess_file(observation, context, given_at)
    kept = KeptVerdict("rules", given_at, then.until, then.expiry)
    assert kept.holds("rules", given_at)
    if kept.holds("rules", now):
        assert assess_file(observation, context, now) == then
