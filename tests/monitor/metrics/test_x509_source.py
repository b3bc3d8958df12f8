from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from config.model import Artefacts, Component, Config, Watch
from config.text import Printable
from config.vocabulary import Code, FileFormat, Severity, TargetKind, UnreadableReason
from monitor.metrics.x509_source import AGAIN, REASONS, Sources
from monitor.state.target import Raised, TargetState
from probes.file import NOT_FOR_US
from probes.finding import finding
from tests.kit.metrics import some_certificate, some_file, value

SSL, WWW = "/etc/ssl/**/*.pem", "/srv/www"
CONFIG = Config(
    watches=(Watch((SSL, WWW)), Watch(("/opt/*.jks",))),
    components={"web": Component("web", Artefacts(certificate="/etc/web.pem"))},
)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Counted:
    clock: Clock
    sources: Sources

    def value(self, name: str, **labels: str) -> float | None:
        registry = CollectorRegistry()
        registry.register(self.sources)
        return value(generate_latest(registry).decode(), name, **labels)

    def errors(self, source: str, reason: str) -> float | None:
        return self.value("x509_source_errors_total", source_kind="file", source_name=source, reason=reason)


@pytest.fixture
def counted() -> Counted:
    clock = Clock()
    return Counted(clock, Sources(CONFIG, "1.2", clock))


def unreadable(
    target: str,
    reason: UnreadableReason,
    *,
    component: str | None = None,
    severity: Severity = Severity.WARNING,
    held_as: FileFormat | None = None,
) -> TargetState:
    found = finding(Code.UNREADABLE, Printable(""), severity=severity)
    return TargetState(
        target,
        TargetKind.FILE,
        target,
        component,
        findings={(found.code, ""): Raised(found, 1.0)},
        failure=(str(reason), ""),
        last_look=1.0,
        format=held_as,
    )


def test_each_source_has_each_reason_from_the_start_and_is_up_once_it_was_searched(counted: Counted) -> None:
    for source in (SSL, "/opt/*.jks", "web"):
        assert [counted.errors(source, each) for each in REASONS] == [0] * len(REASONS)
        assert counted.value("x509_source_up", source_kind="file", source_name=source) is None
        assert counted.value("x509_source_bundles", source_kind="file", source_name=source) == 0
    counted.sources.searched(())
    assert counted.value("x509_source_up", source_kind="file", source_name=SSL) == 1


def test_a_tree_that_is_not_searched_takes_its_source_down_until_it_is(counted: Counted) -> None:
    counted.sources.searched([finding(Code.UNREADABLE, Printable(""), Printable(WWW), Severity.WARNING)])
    up = [counted.value("x509_source_up", source_kind="file", source_name=each) for each in (SSL, "/opt/*.jks")]
    assert up == [0, 1]
    assert counted.errors(SSL, "walk_error") == 1
    # That some file in it may not be read is another thing.
    counted.sources.searched([finding(Code.UNREADABLE, Printable(""), Printable(WWW), Severity.NOTICE)])
    assert counted.value("x509_source_up", source_kind="file", source_name=SSL) == 1


def test_an_error_counts_when_it_comes_and_again_while_it_lasts(counted: Counted) -> None:
    broken = unreadable("/etc/ssl/a/b.pem", UnreadableReason.BAD_PEM)
    counted.sources.changed(None, broken)
    assert counted.errors(SSL, "bad_pem") == 1
    assert counted.value("x509_read_errors") == 1
    counted.clock.now += 10 * AGAIN
    assert counted.errors(SSL, "bad_pem") == 11
    counted.sources.changed(broken, some_file(broken.target, some_certificate()))
    counted.clock.now += 10 * AGAIN
    assert counted.errors(SSL, "bad_pem") == 11
    assert counted.value("x509_read_errors") == 0


def test_a_file_counts_in_its_source_while_it_is_there(counted: Counted) -> None:
    found, own = some_file("/srv/www/a.pem"), replace(some_file("/etc/web.pem"), component="web")
    for each in (found, own):
        counted.sources.changed(None, each)
        counted.sources.changed(each, replace(each, last_look=2.0))
    assert counted.value("x509_source_bundles", source_kind="file", source_name=SSL) == 1
    assert counted.value("x509_source_bundles", source_kind="file", source_name="web") == 1
    counted.sources.changed(found, None)
    assert counted.value("x509_source_bundles", source_kind="file", source_name=SSL) == 0


@pytest.mark.parametrize(
    ("reason", "held_as", "shown"),
    [
        (UnreadableReason.NOT_FOUND, None, "not_found"),
        (UnreadableReason.PERMISSION_DENIED, None, "permission_denied"),
        (UnreadableReason.SYMLINK_LOOP, None, "broken_symlink"),
        (UnreadableReason.IO_ERROR, None, "read_failed"),
        (UnreadableReason.BAD_DER, FileFormat.PEM, "bad_der"),
        (UnreadableReason.BAD_DER, FileFormat.JCEKS, "bad_jks"),
        (UnreadableReason.BAD_DER, FileFormat.PKCS12, "bad_pkcs12"),
        (UnreadableReason.WRONG_PASSWORD, FileFormat.PKCS12, "bad_passphrase"),
    ],
)
def test_each_reason_has_its_word_there(
    counted: Counted, reason: UnreadableReason, held_as: FileFormat | None, shown: str
) -> None:
    counted.sources.changed(None, unreadable("/opt/a.jks", reason, held_as=held_as))
    assert counted.errors("/opt/*.jks", shown) == 1


def test_a_wrong_password_counts_for_its_kind_of_keystore(counted: Counted) -> None:
    locked = unreadable("/opt/a.jks", UnreadableReason.WRONG_PASSWORD, held_as=FileFormat.JKS)
    counted.sources.changed(None, locked)
    counted.sources.changed(locked, None)
    assert counted.value("x509_jks_passphrase_failures_total", source_name="/opt/*.jks") == 1
    assert counted.value("x509_pkcs12_passphrase_failures_total", source_name="/opt/*.jks") == 0


def test_neither_a_state_between_two_writes_nor_a_key_that_is_left_unread_is_an_error(counted: Counted) -> None:
    torn = unreadable("/etc/ssl/a.pem", UnreadableReason.BAD_PEM)
    counted.sources.changed(None, replace(torn, findings={}, pending=torn.findings))
    for reason in NOT_FOR_US:
        key = unreadable(f"/etc/{reason}.key", reason, component="web", severity=Severity.NOTICE)
        counted.sources.changed(None, key)
    assert counted.value("x509_read_errors") == 0


def test_certificates_that_share_a_name_and_a_number_are_counted_at_every_scrape_and_none_is_dropped(
    counted: Counted,
) -> None:
    twins = (some_certificate(not_after=1_800_000_000), some_certificate(not_after=1_900_000_000))
    counted.sources.changed(None, some_file("/etc/ssl/a.pem", *twins, some_certificate("other")))
    assert counted.value("x509_cert_collision_total", source_kind="file") == 2
    assert counted.value("x509_cert_collision_total", source_kind="file") == 4
    assert counted.value("x509_cert_collision_dropped_total", source_kind="file") == 0
