"""Who is told what, as it is declared; and that no URL shows anywhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from config.channel import Channel, Digest, FindingMatch, Heartbeat, Notifications, Route, Silence, ToldEvent
from config.load import load
from config.model import Config
from config.show import show
from config.vocabulary import Code, Severity, TargetKind
from tests.kit.configuration import Loaded, Write

SECRET = "T0KEN-hunter2"
GOOD = """
channels:
  ops: {{urls_file: {urls}}}
notifications:
  enabled: false
  routes:
    - channels: [ops]
      severity: critical
      component: [web]
      label: {{env: [prod]}}
      target: ["mail*"]
      kind: [file]
      finding: [expired]
      for: 5m
    - {{channels: [ops], severity: notice, events: [committed]}}
  digest: {{channels: [ops], cron: "0 7 * * mon", timezone: Europe/Zurich}}
  remind: {{critical: 4h, warning: never}}
  resolved_after: 1m
  attempts: 7
  runbook: https://wiki.example.com/certvigil/
  silences:
    - {{target: [mail], reason: "moved in Q1", until: 2027-03-31}}
  heartbeat: {{url_file: {beat}, every: 5m}}
"""


@pytest.fixture
def secrets(tmp_path: Path) -> tuple[str, str]:
    """Write a file of URLs, and one with the URL of the heartbeat."""
    urls, beat = tmp_path / "ops.urls", tmp_path / "beat.url"
    urls.write_text(f"# the chat\n  slack://{SECRET}/a  \n\njson://example.com/{SECRET}\n")
    beat.write_text(f"https://example.com/{SECRET}\n")
    for each in (urls, beat):
        each.chmod(0o640)
    return str(urls), str(beat)


def test_notifier_is_understood_in_full(loaded: Loaded, secrets: tuple[str, str]) -> None:
    urls, beat = secrets
    config = loaded(GOOD.format(urls=urls, beat=beat))
    assert config.channels == {"ops": Channel("ops", (f"slack://{SECRET}/a", f"json://example.com/{SECRET}"), urls)}
    match = FindingMatch(("mail*",), ("web",), (TargetKind.FILE,), (Code.EXPIRED,), (("env", ("prod",)),))
    assert config.notifications == Notifications(
        enabled=False,
        routes=(
            Route(("ops",), Severity.CRITICAL, match, 300.0),
            Route(("ops",), Severity.NOTICE, events=(ToldEvent.COMMITTED,)),
        ),
        digest=Digest(("ops",), "0 7 * * mon", "Europe/Zurich"),
        remind={Severity.NOTICE: None, Severity.WARNING: None, Severity.CRITICAL: 14_400},
        resolved_after=60,
        attempts=7,
        runbook="https://wiki.example.com/certvigil/",
        silences=(Silence(FindingMatch(("mail",)), "moved in Q1", 1_806_537_600),),
        heartbeat=Heartbeat(f"https://example.com/{SECRET}", 300, beat),
    )
    shown = loaded(show(config))
    assert replace(shown, sources=(), digest="") == replace(config, sources=(), digest="")


@pytest.mark.parametrize(
    ("section", "runbook"),
    [("{}", None), ("{runbook: null}", None), ("{runbook: 'https://wiki/x/'}", "https://wiki/x/")],
)
def test_people_are_sent_to_no_place_that_the_site_does_not_name(
    section: str, runbook: str | None, loaded: Loaded
) -> None:
    config = loaded(f"notifications: {section}")
    assert config.notifications.runbook == runbook
    assert loaded(show(config)).notifications == config.notifications


def test_no_secret_is_shown(loaded: Loaded, secrets: tuple[str, str]) -> None:
    urls, beat = secrets
    channels = f"channels: {{ops: {{urls: ['${{CHAT}}', 'json://{SECRET}']}}}}"
    own = f"{channels}\nnotifications: {{heartbeat: {{url: '${{BEAT}}'}}}}"
    for text in (GOOD.format(urls=urls, beat=beat), own):
        config = loaded(text, CHAT=f"slack://{SECRET}/a", BEAT=f"https://example.com/{SECRET}")
        assert SECRET not in show(config)
        assert SECRET not in repr(config)
    masked = yaml.safe_load(show(config))
    assert masked["channels"] == {"ops": {"urls": ["slack://***", "json://***"]}}
    assert masked["notifications"]["heartbeat"]["url"] == "***"


def test_a_url_is_called_by_its_place_and_kind() -> None:
    channel = Channel("ops", (f"slack://{SECRET}", f"mailto://{SECRET}"))
    assert [channel.url_name(position) for position in (0, 1)] == ["ops, URL 1 (slack)", "ops, URL 2 (mailto)"]


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (f"json://{SECRET}", 0o644, "readable by everybody (mode 0644), expected its owner and group alone"),
        (f"json://{SECRET}", 0o660, "writable by group or others (mode 0660), expected its owner alone"),
        (f"# chat\njson://a\n{SECRET}", 0o600, "line 3 has a mistake, expected a URL such as slack://..."),
        ("# nobody\n\n", 0o600, "is empty, expected one value on each line"),
        ("json://a\n" * 10_000, 0o600, "too large, expected at most 65536 bytes"),
        (None, 0o600, "not a regular file, expected one"),
    ],
)
def test_a_file_of_urls_that_is_no_good_is_a_mistake_where_it_is_named(
    text: str | None, mode: int, says: str, write: Write, tmp_path: Path
) -> None:
    path = tmp_path / "ops.urls"
    if text is None:
        os.mkfifo(path)
    else:
        path.write_text(text)
    path.chmod(mode)
    config = write(f"channels:\n  ops:\n    urls_file: {path}\n")
    found = load(config, {})
    assert isinstance(found, tuple)
    assert list(map(str, found)) == [f"{config}:3: channels.ops.urls_file: {path}: {says}"]


def test_who_delivers_nothing_needs_neither_the_file_of_urls_nor_a_variable_with_one(
    write: Write, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    path = write(
        f"""
        channels:
          ops: {{urls_file: {closed}/ops.urls}}
          pager: {{urls: ["${{PAGER_URL}}", "slack://${{TOKEN}}/a"]}}
        notifications:
          routes: [{{channels: [ops, pager]}}]
          heartbeat: {{url_file: {closed}/beat.url}}
        """
    )
    assert len(load(path, {})) == 4  # type: ignore[arg-type]
    config = load(path, {}, secrets=False)
    assert isinstance(config, Config)
    assert set(config.channels) == {"ops", "pager"}
    # What belongs to no channel must be set all the same.
    other = write("host: ${NAME}", "other.yaml")
    assert "${NAME} is not set" in str(load(other, {}, secrets=False)[0])  # type: ignore[index]


def test_a_heartbeat_is_one_url(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "beat.url"
    path.write_text("https://a\nhttps://b\n")
    path.chmod(0o600)
    config = write(f"notifications:\n  heartbeat: {{url_file: {path}}}\n")
    (mistake,) = map(str, load(config, {}))  # type: ignore[arg-type]
    assert mistake == f"{config}:2: notifications.heartbeat.url_file: holds several lines, expected one URL"


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (FindingMatch(), True),
        (FindingMatch(targets=("mail*",)), True),
        (FindingMatch(targets=("web", "mail.example.com:465")), True),
        (FindingMatch(targets=("MAIL*",)), False),
        (FindingMatch(components=("web",)), False),
        (FindingMatch(kinds=(TargetKind.ENDPOINT,), codes=(Code.EXPIRED,)), True),
        (FindingMatch(kinds=(TargetKind.FILE,)), False),
        (FindingMatch(codes=(Code.EXPIRING,)), False),
        (FindingMatch(labels=(("env", ("test", "prod")),)), True),
        (FindingMatch(labels=(("env", ("test",)),)), False),
        (FindingMatch(labels=(("team", ("web",)),)), False),
    ],
)
def test_a_match_holds_where_everything_given_agrees(match: FindingMatch, holds: bool) -> None:
    assert match.holds("mail.example.com:465", None, TargetKind.ENDPOINT, Code.EXPIRED, {"env": "prod"}) is holds


def test_who_is_told_of_a_member_is_told_of_its_group_and_a_silence_of_a_group_is_of_its_members(
    loaded: Loaded,
) -> None:
    config = loaded(
        """
        components:
          console: {artefacts: {combined: /a}}
          portal: {artefacts: {combined: /b}}
        groups: {primary: [console, portal]}
        channels: {ops: {urls: ["json://localhost"]}}
        notifications:
          routes:
            - {channels: [ops], component: [portal]}
            - {channels: [ops], component: [primary]}
          silences:
            - {component: [portal], reason: known, until: 2099-01-01}
            - {component: [primary], reason: known, until: 2099-01-01}
        """
    )

    def meant(match: FindingMatch) -> set[str]:
        names = ("primary", "console", "portal")
        return {name for name in names if match.holds("x", name, TargetKind.FILE, Code.EXPIRED)}

    notifications = config.notifications
    assert [meant(each.match) for each in notifications.routes] == [
        {"portal", "primary"},
        {"primary", "console", "portal"},
    ]
    assert [meant(each.match) for each in notifications.silences] == [{"portal"}, {"primary", "console", "portal"}]
