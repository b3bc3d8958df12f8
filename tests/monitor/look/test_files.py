"""Looks at files: where exporters of today fail, and what a restart remembers."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from config.model import Artefacts, Component, FileTarget, Settings, Watch
from config.vocabulary import Code, FileRole, Integrity, LookOutcome, Severity
from monitor.lab.ca import DAY, Authority, KeyType, new_key
from monitor.look import files, unread
from monitor.state import pending
from monitor.state.events import FindingCleared, FindingRaised, PresentedChanged, TargetRemoved
from monitor.state.messages import Looked
from probes.find import Found, find
from tests.kit import java_keystore
from tests.kit.keystore import PASSWORD, keystore
from tests.kit.monitors import config_with, file_monitor, until
from tests.kit.unprivileged import unprivileged

ROOT = Authority.root()


def certificate(days: float = 90) -> bytes:
    return ROOT.issue("www.example.com", not_after=int(time.time() + days * DAY)).pem()


def watching(*patterns: Path) -> Watch:
    return Watch(tuple(map(str, patterns)))


def test_a_file_renewed_in_place_behind_a_symlink_is_noticed(tmp_path: Path) -> None:
    async def story() -> None:
        real = tmp_path / "archive" / "cert1.pem"
        real.parent.mkdir()
        real.write_bytes(certificate(40))
        link = tmp_path / "live" / "cert.pem"
        link.parent.mkdir()
        link.symlink_to("../archive/cert1.pem")
        async with file_monitor(config_with(watches=(watching(link),))) as kept:
            before = kept.page.shown[str(link)].expiry
            real.write_bytes(certificate(80))
            await until(lambda: kept.page.shown[str(link)].expiry != before)

    asyncio.run(story())


def test_the_swap_of_a_projected_volume_is_noticed(tmp_path: Path) -> None:
    """Kubelet swaps `..data`; neither `tls.crt` nor what it says changes."""

    async def story() -> None:
        for version, days in (("..1", 40), ("..2", 80)):
            (tmp_path / version).mkdir()
            (tmp_path / version / "tls.crt").write_bytes(certificate(days))
        (tmp_path / "..data").symlink_to("..1")
        link = tmp_path / "tls.crt"
        link.symlink_to("..data/tls.crt")
        async with file_monitor(config_with(watches=(watching(tmp_path / "*.crt"),))) as kept:
            before = kept.page.shown[str(link)].expiry
            (tmp_path / "..data_tmp").symlink_to("..2")
            os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
            await until(lambda: kept.page.shown[str(link)].expiry != before)

    asyncio.run(story())


def test_a_corrupted_renewal_keeps_the_last_known_expiry_beside_a_finding(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "site.pem"
        path.write_bytes(certificate())
        async with file_monitor(config_with(watches=(watching(path),))) as kept:
            before = kept.page.shown[str(path)]
            path.write_bytes(certificate()[:200])
            await until(lambda: Code.UNREADABLE in kept.codes(str(path)))
            after = kept.page.shown[str(path)]
            assert (after.presented, after.expiry, after.up) == (before.presented, before.expiry, False)
            path.write_bytes(certificate())
            await until(lambda: Code.UNREADABLE not in kept.codes(str(path)))
            assert kept.page.shown[str(path)].up

    asyncio.run(story())


def test_a_new_file_that_matches_becomes_a_target_and_a_deleted_one_is_none(tmp_path: Path) -> None:
    async def story() -> None:
        async with file_monitor(config_with(watches=(watching(tmp_path / "**" / "*.pem"),))) as kept:
            path = tmp_path / "deep" / "down" / "new.pem"
            path.parent.mkdir(parents=True)
            path.write_bytes(certificate())
            await until(lambda: str(path) in kept.page.shown)
            path.unlink()
            await until(lambda: str(path) not in kept.page.shown)
            assert isinstance(kept.events[-1], TargetRemoved)

    asyncio.run(story())


def test_a_deleted_file_that_a_pattern_matched_is_no_finding(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "site.pem"
        path.write_bytes(certificate())
        async with file_monitor(config_with(watches=(watching(tmp_path / "*.pem"),))) as kept:
            events = len(kept.events)
            path.unlink()
            await until(lambda: str(path) not in kept.page.shown)
            assert [type(event) for event in kept.events[events:]] == [TargetRemoved]

    asyncio.run(story())


def test_a_link_that_leads_nowhere_any_more_is_unreadable(tmp_path: Path) -> None:
    async def story() -> None:
        real, link = tmp_path / "real", tmp_path / "link.pem"
        real.write_bytes(certificate())
        link.symlink_to(real)
        async with file_monitor(config_with(watches=(watching(tmp_path / "*.pem"),))) as kept:
            real.unlink()
            await until(lambda: kept.codes(str(link)) == {Code.UNREADABLE})
            assert kept.page.shown[str(link)].presented

    asyncio.run(story())


def test_a_file_named_on_its_own_that_is_gone_is_critical_and_stays_known(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "site.pem"
        path.write_bytes(certificate())
        async with file_monitor(config_with(watches=(watching(path),))) as kept:
            path.unlink()
            await until(lambda: Code.UNREADABLE in kept.codes(str(path)))
            known = kept.page.shown[str(path)]
            assert known.presented
            assert [raised.finding.severity for raised in known.findings.values()] == [Severity.CRITICAL]

    asyncio.run(story())


def test_what_is_no_certificate_is_no_target(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "README").write_text("0 is how this text begins, like DER does\n")
        (tmp_path / "empty").touch()
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "cert.pem").write_bytes(certificate())
        async with file_monitor(config_with(watches=(watching(tmp_path),))) as kept:
            assert set(kept.page.shown) == {str(tmp_path / "cert.pem")}

    asyncio.run(story())


def test_the_same_observation_again_gives_no_event(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "cert.pem").write_bytes(certificate(5))
        async with file_monitor(config_with(watches=(watching(tmp_path),))) as kept:
            events, looks = len(kept.events), len(kept.looks)
            assert kept.files is not None
            kept.files.rescan()
            await until(lambda: len(kept.looks) > looks)
            assert kept.looks[-1].outcome is LookOutcome.UNCHANGED
            assert len(kept.events) == events

    asyncio.run(story())


def test_a_restart_remembers_and_raises_nothing_twice(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "cert.pem").write_bytes(certificate(5))
        config = config_with(watches=(watching(tmp_path),))
        async with file_monitor(config) as kept:
            remembered = [replace(known, last_look=None) for known in kept.page.shown.values()]
        async with file_monitor(config, remembered) as again:
            assert again.events == []
            assert again.page.shown[remembered[0].target].findings == remembered[0].findings

    asyncio.run(story())


def test_a_target_that_is_configured_no_longer_is_forgotten_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "cert.pem").write_bytes(certificate())
        async with file_monitor(config_with(watches=(watching(tmp_path),))) as kept:
            remembered = list(kept.page.shown.values())
        async with file_monitor(config_with(), remembered) as again:
            assert again.page.shown == {}

    asyncio.run(story())


def test_a_verdict_changes_at_the_second_at_which_time_makes_it_change(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "cert.pem"
        path.write_bytes(ROOT.issue("a.example", not_after=int(time.time()) + 2).pem())
        async with file_monitor(config_with(watches=(watching(path),))) as kept:
            await until(lambda: Code.EXPIRED in kept.codes(str(path)))
            known = kept.page.shown[str(path)]
            assert known.expiry is not None
            raised = next(raised for (code, _), raised in known.findings.items() if code is Code.EXPIRED)
            assert 0 <= raised.since - (known.expiry + 1) < 1

    asyncio.run(story())


def test_a_key_that_does_not_belong_to_the_certificate_is_noticed_whichever_changes(tmp_path: Path) -> None:
    async def story() -> None:
        one, two = (ROOT.issue("a.example", key=new_key(KeyType.P256)) for _ in range(2))
        paths = {role: tmp_path / role for role in (FileRole.CERTIFICATE, FileRole.KEY)}
        paths[FileRole.CERTIFICATE].write_bytes(one.pem())
        paths[FileRole.KEY].write_bytes(one.key_pem())
        paths[FileRole.KEY].chmod(0o600)
        files = tuple(FileTarget(f"web/{role}", str(path), role, component="web") for role, path in paths.items())
        component = Component("web", Artefacts(str(paths[FileRole.CERTIFICATE]), str(paths[FileRole.KEY])))
        settings = Settings(settle=0.1, pending=0.0)
        async with file_monitor(config_with(settings=settings, files=files, components={"web": component})) as kept:
            assert kept.codes("web/certificate") == set()
            paths[FileRole.KEY].write_bytes(two.key_pem())
            await until(lambda: kept.codes("web/certificate") == {Code.KEY_MISMATCH})
            paths[FileRole.CERTIFICATE].write_bytes(two.pem())
            await until(lambda: kept.codes("web/certificate") == set())
            paths[FileRole.KEY].write_bytes(one.key_pem())
            paths[FileRole.CERTIFICATE].write_bytes(one.pem())
            certificate = tuple(kept.page.shown["web/certificate"].presented)
            await until(lambda: kept.page.shown["web/certificate"].presented != certificate)
            await until(lambda: kept.codes("web/certificate") == set())
            assert "web" in kept.components
            kinds = {type(event) for event in kept.events}
            assert {FindingRaised, FindingCleared, PresentedChanged} <= kinds

    asyncio.run(story())


def test_keystores_that_a_pattern_matches_never_vanish(tmp_path: Path) -> None:
    """Opened where they can be, else called by their names, in a notice; they did not exist for anybody before."""

    async def story() -> None:
        site = ROOT.issue("www.example.com", key=KeyType.P256)
        secret, java = tmp_path / "password", bytes.fromhex("feedfeed0000000300000000") + bytes(20)
        (tmp_path / "stores").mkdir()
        contents = {
            "locked.p12": keystore(site),
            "open.p12": keystore(site, None),
            "app.jks": java,
            "key.der": b"0\x03",
        }
        for name, data in contents.items():
            (tmp_path / "stores" / name).write_bytes(data)
        watch = watching(tmp_path / "stores" / "*")
        async with file_monitor(config_with(watches=(watch,))) as kept:
            unopened = [str(tmp_path / "stores" / name) for name in ("locked.p12", "app.jks")]
            await until(lambda: all(kept.codes(each) for each in unopened))
            shown = {os.path.basename(target): known for target, known in kept.page.shown.items()}
            assert set(shown) == {"locked.p12", "open.p12", "app.jks"}
            assert [each.subject for each in shown["open.p12"].presented] == ["CN=www.example.com"]
            for name, called in (("locked.p12", "a PKCS#12 keystore"), ("app.jks", "a JKS keystore")):
                (raised,) = shown[name].findings.values()
                assert (raised.finding.code, raised.finding.severity) == (Code.UNREADABLE, Severity.NOTICE)
                assert called in raised.finding.detail
                assert "damaged" not in raised.finding.detail
        secret.write_bytes(PASSWORD)
        async with file_monitor(config_with(watches=(replace(watch, password_files=(str(secret),)),))) as kept:
            opened = kept.page.shown[str(tmp_path / "stores" / "locked.p12")]
            assert (len(opened.presented), opened.findings) == (1, {})

    asyncio.run(story())


def test_the_entries_of_a_trust_store_are_shown_and_judged_as_roots(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "cacerts"
        ended = Authority.root("Ended", not_before=1.0e9, not_after=1.1e9)
        one, two = java_keystore.trusted("one", ROOT.der()), java_keystore.trusted("old one", ended.der())
        path.write_bytes(java_keystore.store(one, password=java_keystore.CHANGEIT))
        config = config_with(settings=Settings(settle=0.1), watches=(watching(path),))
        async with file_monitor(config) as kept:
            await until(lambda: kept.codes(str(path)) == {"default_store_password"})
            path.write_bytes(java_keystore.store(one, two))
            await until(lambda: kept.codes(str(path)) == {"expired"})
            shown = kept.page.shown[str(path)]
            assert shown.keystore is not None
            assert [each.alias for each in shown.keystore.entries] == ["one", "old one"]
            assert shown.keystore.integrity is Integrity.UNVERIFIED
            ((raised),) = shown.findings.values()
            assert (raised.finding.subject, raised.finding.severity) == ("position 1", Severity.NOTICE)
            assert raised.finding.detail.startswith("alias old one: ")
            # The last known entries stay beside what is wrong now.
            path.write_bytes(java_keystore.store(one, two)[:-30])
            await until(lambda: "unreadable" in kept.codes(str(path)))
            assert len(kept.page.shown[str(path)].presented) == 2

    asyncio.run(story())


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 8], ids=["empty", "garbage"])
def test_a_lost_certificate_stays_lost_when_files_are_judged_anew_and_after_a_restart(
    tmp_path: Path, content: bytes
) -> None:
    async def story() -> None:
        path = tmp_path / "site.cer"
        path.write_bytes(certificate())
        config = config_with(settings=Settings(settle=0.1), watches=(watching(tmp_path / "*"),))
        async with file_monitor(config) as kept:
            path.write_bytes(content)
            await until(lambda: bool(kept.codes(str(path))))
            lost = kept.codes(str(path))
            assert kept.files is not None
            assert kept.registry is not None
            events, looks = len(kept.events), len(kept.looks)
            kept.registry.trust_context = replace(kept.registry.trust_context)
            kept.files.rescan()
            await until(lambda: len(kept.looks) > looks)
            assert (kept.codes(str(path)), kept.events[events:]) == (lost, [])
            remembered = [replace(known, last_look=None, pending={}) for known in kept.page.shown.values()]
        async with file_monitor(config, remembered) as again:
            assert (again.codes(str(path)), again.events) == (lost, [])
            path.write_bytes(certificate())
            await until(lambda: again.codes(str(path)) == set())

    asyncio.run(story())


def test_a_file_lost_just_before_a_restart_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    """What is pending is not remembered: the file itself says it again."""

    async def story() -> None:
        path = tmp_path / "site.cer"
        path.write_bytes(certificate())
        async with file_monitor(config_with(settings=Settings(settle=60), watches=(watching(path),))) as kept:
            path.write_bytes(b"")
            await until(lambda: bool(kept.page.shown[str(path)].pending))
            remembered = [replace(known, last_look=None, pending={}) for known in kept.page.shown.values()]
        async with file_monitor(
            config_with(settings=Settings(settle=0), watches=(watching(path),)), remembered
        ) as again:
            assert again.codes(str(path)) == {Code.NO_CERTIFICATE}

    asyncio.run(story())


def test_a_watched_file_is_not_judged_while_it_is_being_written(tmp_path: Path) -> None:
    async def story() -> None:
        listed, found = tmp_path / "listed.pem", tmp_path / "some" / "found.pem"
        found.parent.mkdir()
        paths = (listed, found)
        for path in paths:
            path.write_bytes(certificate(40))
        watches = (watching(listed), watching(tmp_path / "some" / "*.pem"))
        async with file_monitor(config_with(settings=Settings(settle=1), watches=watches)) as kept:
            before = {path: kept.page.shown[str(path)].presented for path in paths}
            for content in (b"", certificate()[:300]):
                for path in paths:
                    path.write_bytes(content)
                await until(lambda: all(kept.page.shown[str(path)].pending for path in paths))
            for path in paths:
                path.write_bytes(certificate(80))
            await until(lambda: all(kept.page.shown[str(path)].presented != before[path] for path in paths))
            await until(lambda: not any(kept.page.shown[str(path)].pending for path in paths))
            assert not [event for event in kept.events if isinstance(event, FindingRaised)]

    asyncio.run(story())


def test_a_file_that_is_written_to_all_the_time_is_judged_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "UNREST", 0.3)

    async def story() -> None:
        path = tmp_path / "site.pem"
        path.write_bytes(certificate())
        async with file_monitor(config_with(settings=Settings(settle=60), watches=(watching(path),))) as kept:
            started, number = time.time(), 0
            while not kept.codes(str(path)):
                assert time.time() < started + 10
                number += 1
                path.write_bytes(b"x" * number)
                await asyncio.sleep(0.02)
            (raised,) = kept.page.shown[str(path)].findings.values()
            assert time.time() - raised.since >= 0.3

    asyncio.run(story())


def test_a_search_that_takes_long_keeps_no_look_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        path, pub = tmp_path / "srv" / "site.pem", tmp_path / "pub"
        path.parent.mkdir()
        pub.mkdir()
        path.write_bytes(certificate(40))
        searching, ended = threading.Event(), threading.Event()

        def slow(watches: Sequence[Watch], under: str) -> Found:
            if under.startswith(str(pub)):
                searching.set()
                assert ended.wait(20)
            return find(watches, under)

        monkeypatch.setattr(files, "find", slow)
        watches = (watching(pub / "**" / "*.pem"), watching(path.parent / "*.pem"))
        async with file_monitor(config_with(watches=watches)) as kept:
            try:
                before = kept.page.shown[str(path)].expiry
                (pub / "new").mkdir()
                await until(searching.is_set)
                path.write_bytes(certificate(80))
                await until(lambda: kept.page.shown[str(path)].expiry != before, 5)
                looks = len(kept.looks)
                assert kept.files is not None
                kept.files.look_again([str(path)])
                await until(lambda: len(kept.looks) > looks, 5)
            finally:
                ended.set()

    asyncio.run(story())


def test_files_that_change_all_the_time_keep_no_other_waiting(tmp_path: Path) -> None:
    async def story() -> None:
        quiet, busy = tmp_path / "quiet.pem", tmp_path / "busy.pem"
        for path in (quiet, busy):
            path.write_bytes(certificate())
        async with file_monitor(config_with(watches=(watching(quiet, busy),))) as kept:
            monitor = kept.files
            assert monitor is not None

            def busily(_: Looked) -> None:
                monitor.look_again([str(busy)])

            kept.on_look = busily
            monitor.look_again([str(busy)])
            looks = len(kept.looks)
            monitor.rescan()
            await until(lambda: any(each.target == str(quiet) for each in kept.looks[looks:]))
            await until(lambda: len(kept.looks) > looks + 20)

    asyncio.run(story())


def test_many_directories_that_are_not_searched_are_one_finding(tmp_path: Path) -> None:
    async def story() -> None:
        pub = tmp_path / "pub"
        for number in range(20):
            (pub / f"{number:02}").mkdir(parents=True)
            laid = pub / f"{number:02}" / "root"
            laid.symlink_to("/")
            os.chown(laid, 1234, 1234, follow_symlinks=False)
        async with file_monitor(config_with(watches=(watching(pub / "**" / "*.pem"),))) as kept:
            ((found,),) = kept.unsearched
            assert (found.code, found.subject, found.severity) == (Code.UNREADABLE, str(pub), Severity.WARNING)
            assert "20 directories are not searched, 00/root, 01/root, 02/root and 17 more: unsafe_link" in found.detail
            for number in range(20):
                (pub / f"{number:02}" / "root").unlink()
            await until(lambda: not kept.unsearched[-1])

    asyncio.run(story())


def test_a_key_that_may_not_be_read_is_nobodys_fault_and_another_file_is_a_notice(tmp_path: Path) -> None:
    async def story() -> None:
        for name in ("site.key", "privkey1.pem", "site-key.pem", "key.pem", "deep/bare.pem"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(certificate())
            (tmp_path / name).chmod(0o600)
        config = config_with(watches=(watching(tmp_path / "**" / "*"),))
        with unprivileged(tmp_path):
            async with file_monitor(config) as kept:
                assert kept.page.shown == {}
                ((found,),) = kept.unsearched
                assert (found.subject, found.severity) == (str(tmp_path), Severity.NOTICE)
                assert "may not read deep/bare.pem; to cure it" in found.detail
                assert "key.pem" not in found.detail

    asyncio.run(story())


@pytest.mark.parametrize(
    ("name", "is_key"),
    [
        ("a.key", True),
        ("privkey.pem", True),
        ("privkey12.pem", True),
        ("a-key.pem", True),
        ("server_key.der", True),
        ("KEY.PEM", True),
        ("cert.pem", False),
        ("monkey.pem", False),
        ("keys.example.com.pem", False),
        ("key.example.com.pem", False),
        ("fullchain.pem", False),
    ],
)
def test_a_file_is_called_a_key_by_the_end_of_its_name(name: str, is_key: bool) -> None:
    assert bool(unread._CALLED_KEY.search(name)) is is_key


def test_another_label_of_a_watch_or_a_component_is_taken_up_and_is_no_event(tmp_path: Path) -> None:
    found, own = tmp_path / "found.pem", tmp_path / "own.pem"
    for path in (found, own):
        path.write_bytes(certificate())

    def labelled(team: str) -> tuple[Watch, FileTarget]:
        labels = (("team", team),)
        return replace(watching(found), labels=labels), FileTarget(
            "web/certificate", str(own), FileRole.CERTIFICATE, "web", labels=labels
        )

    async def story() -> None:
        watch, file = labelled("one")
        component = Component("web", Artefacts(certificate=str(own)))
        config = config_with(watches=(watch,), files=(file,), components={"web": component})
        async with file_monitor(config) as kept:
            assert kept.registry is not None
            assert kept.files is not None
            assert kept.sets is not None
            shown = kept.page.shown
            assert {each.labels for each in shown.values()} == {(("team", "one"),)}
            before = len(kept.events)
            watch, file = labelled("two")
            context = kept.registry.trust_context
            changed = replace(config, watches=(watch,), files=(file,))
            kept.registry.trust_context = replace(context, config=changed)
            kept.sets.reconfigure()
            kept.files.rescan()
            await until(lambda: {each.labels for each in shown.values()} == {(("team", "two"),)})
            assert len(kept.events) == before

    asyncio.run(story())


def test_the_certificates_that_files_held_before_are_let_go(tmp_path: Path) -> None:
    """Some of them are kept for a while by results that are remembered, and no more than these."""

    async def story() -> None:
        many = 300
        issued = [ROOT.issue(f"host{number}.example.com").pem() for number in range(2 * many)]
        paths = [tmp_path / f"{number}.pem" for number in range(many)]
        for path, pem in zip(paths, issued[:many], strict=True):
            path.write_bytes(pem)
        async with file_monitor(config_with(watches=(watching(tmp_path / "*.pem"),))) as kept:
            before = {str(path): weakref.ref(kept.page.shown[str(path)].presented[0]) for path in paths}
            for path, pem in zip(paths, issued[many:], strict=True):
                path.write_bytes(pem)
            await until(
                lambda: all(kept.page.shown[path].presented[0] is not held() for path, held in before.items()), 60
            )
            kept.events.clear()
            gc.collect()
            assert sum(held() is not None for held in before.values()) < many / 2

    asyncio.run(story())
