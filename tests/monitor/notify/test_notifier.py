"""People are told, by a real daemon over real receivers: at least once, with an id that stays, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from monitor.lab.ca import DAY, Authority, Issued
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, write_site
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.metrics import series
from tests.kit.receivers import MailServer, MessageReceiver, ReceivedMessage, ReceiverManner
from tests.kit.start import StartServer

NAME = "www.example.com"
ROOT = Authority.root()
SECRET = "T0KENhunter2"

Start = Callable[..., RunningDaemon]


def issue(days_left: float, name: str = NAME) -> Issued:
    now = time.time()
    return ROOT.issue(name, not_before=now - (90 - days_left) * DAY, not_after=now + days_left * DAY)


@pytest.fixture
def receiver(cleanup: ExitStack) -> MessageReceiver:
    return cleanup.enter_context(MessageReceiver())


@pytest.fixture
def start(cleanup: ExitStack, receiver: MessageReceiver, tmp_path: Path) -> Start:
    """Start a daemon that tells `receiver` of `tmp_path`; when the test ends, no URL shows in anything it left."""
    daemons: list[RunningDaemon] = []

    def started(*urls: str, wait: bool = True, **more: object) -> RunningDaemon:
        urls_file = tmp_path / "ops.urls"
        urls_file.write_text("\n".join(urls or (receiver.url(SECRET),)))
        urls_file.chmod(0o600)
        config = {
            "host": "web1.example.com",
            "watch": [{"files": [f"{tmp_path}/*.pem"]}],
            "channels": {"ops": {"urls_file": str(urls_file)}},
            **more,
        }
        config["notifications"] = {"resolved_after": "0.5s", **(more.get("notifications") or {})}  # type: ignore[dict-item]
        daemon = RunningDaemon(config)
        cleanup.callback(daemon.close)
        cleanup.callback(keeps_its_secrets, daemon)
        daemons.append(daemon)
        if wait:
            daemon.start()
        return daemon

    return started


def keeps_its_secrets(daemon: RunningDaemon) -> None:
    said = {"log": daemon.text.encode()}
    for each in Path(daemon.state).glob("certvigil.db*"):
        said[each.name] = each.read_bytes()
    if daemon.code is None and "READY=1" in daemon.manager.said:
        said["metrics"] = daemon.page().encode()
        said["api"] = json.dumps(
            [daemon.ask(f"/api/v1/{each}") for each in ("notifications", "status", "findings")]
        ).encode()
        said["status"] = certvigil("status", "--socket", daemon.socket).stdout.encode()
    shown = certvigil("config", "show", daemon.config_file)
    said["config show"] = (shown.stdout + shown.stderr).encode()
    for where, text in said.items():
        assert SECRET.encode() not in text, where


def fail(tmp_path: Path, name: str = "cert") -> Path:
    """Have something be wrong from now on."""
    path = tmp_path / f"{name}.pem"
    path.write_bytes(issue(-1, f"{name}.example.com").pem())
    return path


def pending(daemon: RunningDaemon) -> float:
    return daemon.metrics()[series("notifications_pending", channel="ops")]


def counted(daemon: RunningDaemon, outcome: str) -> float:
    return daemon.metrics()[series("notifications_total", channel="ops", outcome=outcome)]


def undelivered(daemon: RunningDaemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.ask("/api/v1/notifications")["undelivered"]
    return found


def recorded(daemon: RunningDaemon, fate: str) -> set[str]:
    """Return the ids of the messages in the database to which that happened."""
    try:
        with closing(sqlite3.connect(f"file:{daemon.state}/certvigil.db?mode=ro", uri=True)) as database:
            return {row[0] for row in database.execute("SELECT id FROM deliveries WHERE fate = ?", (fate,))}
    except sqlite3.OperationalError:
        # It is not there yet.
        return set()


# From the beginning to the end


def test_a_problem_is_raised_worsened_and_resolved(start: Start, receiver: MessageReceiver, tmp_path: Path) -> None:
    daemon = start()
    path = tmp_path / "cert.pem"
    path.write_bytes(issue(20).pem())
    daemon.wait_for(lambda: len(receiver.accepted) == 1, "the first message")
    path.write_bytes(issue(89).pem())
    daemon.wait_for(lambda: len(receiver.accepted) == 2, "the second message")
    assert [got.title for got in receiver.accepted] == [
        f"[warning] web1.example.com: expiring: CN={NAME} on {path}",
        f"[resolved] web1.example.com: expiring: CN={NAME} on {path}",
    ]
    daemon.wait_for(lambda: pending(daemon) == 0, "nothing pending")
    assert {each: counted(daemon, each) for each in ("delivered", "failed", "dead")} == {
        "delivered": 2,
        "failed": 0,
        "dead": 0,
    }
    assert len(set(receiver.ids)) == 2


def test_it_is_told_by_mail(start: Start, cleanup: ExitStack, tmp_path: Path) -> None:
    server = cleanup.enter_context(MailServer())
    daemon = start(f"{server.url}&name={SECRET}")
    path = fail(tmp_path)
    daemon.wait_for(lambda: server.mails, "the mail")
    assert server.mails[0].title == f"[critical] web1.example.com: expired: CN=cert.example.com on {path}"
    assert f"To act: put the new certificate into {path}" in server.mails[0].text
    assert server.mails[0].id


def test_one_certificate_on_forty_endpoints_is_one_message(
    start: Start, receiver: MessageReceiver, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    server = start_local(write_site(str(tmp_path / "site"), issue(-1)))
    names = [f"web{number:02}" for number in range(40)]
    daemon = start(endpoints=[endpoint(name, server.address) for name in names], notifications={"enabled": False})
    got = told_at_once(daemon, receiver, "expired", 40)
    assert got.title == f"[critical] web1.example.com: expired: CN={NAME} on 40 targets"
    assert all(f"  {name} ({server.address}): expired" in got.text for name in names)


def test_a_server_with_one_expired_certificate_after_the_other_is_one_message(
    start: Start, receiver: MessageReceiver, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    directory = str(tmp_path / "site")
    server = start_local(write_site(directory, issue(-1)))
    daemon = start(endpoints=[{**endpoint("web", server.address), "every": "1s"}])
    daemon.wait_for(lambda: receiver.accepted, "the message")
    for number in range(1, 5):
        write_site(directory, issue(-1))
        server.reload()
        daemon.wait_until("presents", after=number)
    (got,) = settled(daemon, receiver)
    assert got.title == f"[critical] web1.example.com: expired: CN={NAME} on web"


@pytest.mark.parametrize("number", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_hundreds_of_endpoints_that_are_dark_are_one_message(
    start: Start, receiver: MessageReceiver, number: int
) -> None:
    """It takes long, since it is about so many."""
    nobody = "{}:{}".format(*free_address())
    endpoints = [endpoint(f"web{each:03}", nobody) for each in range(number)]
    daemon = start(endpoints=endpoints, concurrency=100, notifications={"enabled": False})
    got = told_at_once(daemon, receiver, "unreachable", number)
    assert got.title == f"[critical] web1.example.com: unreachable: {number} targets"
    assert got.text.count(": unreachable\n") == 50
    assert f"  and {number - 50} more\n" in got.text


def endpoint(name: str, address: str) -> dict[str, object]:
    return {"name": name, "address": address, "clients": [], "every": "1h"}


def told_at_once(daemon: RunningDaemon, receiver: MessageReceiver, code: str, findings: int) -> ReceivedMessage:
    """Begin to tell when all is found, which may take a busy host longer than a burst; return the one message."""
    daemon.wait_for(lambda: len(daemon.happened("raised", code=code)) == findings, "the findings")
    daemon.configure(reconfigured(daemon, notifications={}))
    assert certvigil("reload", "--socket", daemon.socket).returncode == 0
    daemon.wait_for(lambda: receiver.accepted, "the message")
    (got,) = settled(daemon, receiver)
    return got


def settled(daemon: RunningDaemon, receiver: MessageReceiver) -> list[ReceivedMessage]:
    """Return what was told once whatever was on its way has been: something else that is wrong is told after it."""
    daemon.configure({**json.loads(Path(daemon.config_file).read_text()), "colour": "blue"})
    assert certvigil("reload", "--socket", daemon.socket).returncode == 1
    daemon.wait_for(lambda: any("config_rejected" in got.title for got in receiver.accepted), "the rejection")
    daemon.wait_for(lambda: pending(daemon) == 0, "nothing pending")
    return [got for got in receiver.accepted if "config_rejected" not in got.title]


def alerts(daemon: RunningDaemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.ask("/api/v1/notifications")["alerts"]
    return found


# Whatever happens


AMISS = (None, ReceiverManner.WITH_AN_ERROR, ReceiverManner.SLOWLY, ReceiverManner.CLOSING, ReceiverManner.TOO_LATE)
"""None is a receiver that is down."""


def misbehave(daemon: RunningDaemon, receiver: MessageReceiver, manner: ReceiverManner | None, tmp_path: Path) -> str:
    """Have a receiver misbehave until a message did not get through; return whom that is about."""
    if manner is None:
        receiver.stop()
    else:
        receiver.manner = manner
    failed, seen = counted(daemon, "failed"), len(receiver.seen)
    name = fail(tmp_path, str(manner).rpartition(".")[2]).stem
    if manner is ReceiverManner.SLOWLY:
        daemon.wait_for(lambda: len(receiver.seen) > seen, "the first attempt")
        return name
    daemon.wait_for(lambda: counted(daemon, "failed") > failed, "the first attempt")
    daemon.wait_for(lambda: any(each["attempts"] for each in undelivered(daemon)), "the message in the API")
    (delivery,) = undelivered(daemon)
    assert delivery["why"].startswith("ops, URL 1 (json) ")
    return name


def behave(daemon: RunningDaemon, receiver: MessageReceiver, manner: ReceiverManner | None, name: str) -> None:
    """Have it behave; fails unless the message gets through then, at least once and always with the same id."""
    if manner is None:
        receiver.start()
    receiver.manner = ReceiverManner.WELL

    def about(those: list[ReceivedMessage]) -> set[str]:
        return {got.id for got in those if f"CN={name}.example.com" in got.title}

    daemon.wait_for(lambda: about(receiver.accepted), "the message")
    daemon.wait_for(lambda: about(receiver.accepted) <= recorded(daemon, "delivered"), "the record of it")
    assert about(receiver.seen) == about(receiver.accepted)
    assert len(about(receiver.accepted)) == 1
    assert undelivered(daemon) == []


def test_a_receiver_that_is_down_or_misbehaves_is_told_later(
    start: Start, receiver: MessageReceiver, tmp_path: Path
) -> None:
    daemon = start()
    for manner in AMISS:
        name = misbehave(daemon, receiver, manner, tmp_path)
        behave(daemon, receiver, manner, name)
    assert pending(daemon) == 0


@pytest.mark.parametrize("manner", [None, *(pytest.param(each, marks=pytest.mark.slow) for each in AMISS[1:])], ids=str)
def test_a_receiver_that_is_down_or_misbehaves_is_told_after_a_restart(
    manner: ReceiverManner | None, start: Start, receiver: MessageReceiver, tmp_path: Path
) -> None:
    daemon = start()
    name = misbehave(daemon, receiver, manner, tmp_path)
    if manner is not ReceiverManner.SLOWLY:
        assert "not delivered to ops" in certvigil("status", "--socket", daemon.socket).stderr
    daemon.stop(signal.SIGKILL)
    daemon.start()
    behave(daemon, receiver, manner, name)


class ClockMoment(StrEnum):
    """When the daemon is killed."""

    RAISED = "between raising and sending"
    SENT = "between sending and the answer"
    ANSWERED = "between the answer and recording"


@pytest.mark.parametrize("moment", list(ClockMoment))
def test_a_daemon_that_is_killed_tells_after_its_restart(
    moment: ClockMoment, start: Start, receiver: MessageReceiver, tmp_path: Path
) -> None:
    daemon = start()
    if moment is ClockMoment.SENT:
        receiver.manner = ReceiverManner.NOT_AT_ALL
    fail(tmp_path)
    if moment is ClockMoment.RAISED:
        daemon.wait_until("raised", code="expired")
    else:
        daemon.wait_for(lambda: receiver.seen if moment is ClockMoment.SENT else receiver.accepted, "the message")
    daemon.stop(signal.SIGKILL)
    before = len(receiver.accepted)
    assert before == (moment is ClockMoment.ANSWERED)
    receiver.manner = ReceiverManner.WELL
    daemon.start()
    daemon.wait_for(lambda: recorded(daemon, "delivered"), "the record of its delivery")
    # What was on its way when the daemon was killed arrives all the same: a second message, with the same id.
    assert len(receiver.accepted) == 1 if moment is ClockMoment.SENT else len(receiver.accepted) in {1, 2}
    assert {got.id for got in receiver.seen} == recorded(daemon, "delivered")
    assert len(recorded(daemon, "delivered")) == 1


def test_what_was_told_is_not_told_again_after_a_restart(
    start: Start, receiver: MessageReceiver, tmp_path: Path
) -> None:
    daemon = start()
    path = fail(tmp_path)
    daemon.wait_for(lambda: recorded(daemon, "delivered"), "the record")
    assert daemon.stop() == 0
    fail(tmp_path, "other")
    daemon.start()
    daemon.wait_for(lambda: len(receiver.accepted) == 2, "the other message")
    path.unlink()
    daemon.wait_for(lambda: len(receiver.accepted) == 3, "the resolution")
    assert [got.title.rpartition(": ")[0] for got in receiver.accepted] == [
        *("[critical] web1.example.com: expired", "[critical] web1.example.com: expired"),
        "[resolved] web1.example.com: expired",
    ]
    assert "other.example.com" in receiver.accepted[1].title


def test_a_channel_that_hangs_delays_neither_others_nor_the_end(
    start: Start, receiver: MessageReceiver, cleanup: ExitStack, tmp_path: Path
) -> None:
    hanging = cleanup.enter_context(MessageReceiver(manner=ReceiverManner.NOT_AT_ALL))
    slow = [hanging.url(f"{SECRET}{number}?rto=60&cto=60") for number in range(3)]
    channels = {"slow": {"urls": slow}, "ops": {"urls": [receiver.url()]}}
    daemon = start(channels=channels)
    for number in range(4):
        fail(tmp_path, f"cert{number}")
        daemon.wait_for(lambda: len(receiver.accepted) > number, "the message")  # noqa: B023
        daemon.page()
    daemon.wait_for(lambda: len(hanging.seen) == 3, "the message that hangs at each URL")
    daemon.wait_for(lambda: len(recorded(daemon, "delivered")) == 4, "the record of what was delivered")
    assert daemon.stop() == 0
    assert len(recorded(daemon, "pending")) == 4


def test_what_cannot_be_delivered_is_given_up_and_that_is_a_finding(
    start: Start, receiver: MessageReceiver, cleanup: ExitStack, tmp_path: Path
) -> None:
    broken = cleanup.enter_context(MessageReceiver(manner=ReceiverManner.WITH_AN_ERROR))
    channels = {"chat": {"urls": [broken.url(SECRET)]}, "ops": {"urls": [receiver.url()]}}
    daemon = start(channels=channels, notifications={"attempts": 2})
    path = fail(tmp_path)
    raised = daemon.wait_until("raised", code="delivery_failed")
    assert raised["subject"] == "chat"
    assert "the channel chat fails, 1 messages to it were given up: chat, URL 1 (json) answered" in raised["detail"]
    daemon.wait_for(lambda: len(receiver.accepted) == 2, "both messages on the other channel")
    assert "[critical] web1.example.com: delivery_failed: certvigil" in {got.title for got in receiver.accepted}
    dead = series("notifications_total", channel="chat", outcome="dead")
    assert daemon.metrics()[dead] == 1
    assert "given up" in certvigil("status", "--socket", daemon.socket).stdout

    # Who is told what is wrong elsewhere mends the channel.
    broken.manner = ReceiverManner.WELL
    retried = certvigil("notify", "retry", "chat", "--socket", daemon.socket)
    assert (retried.returncode, retried.stdout) == (0, "1 messages\n")
    daemon.wait_for(lambda: broken.accepted, "the message")
    assert {got.id for got in broken.seen} == {broken.ids[0]}
    assert broken.accepted[0].title == f"[critical] web1.example.com: expired: CN=cert.example.com on {path}"
    daemon.wait_until("cleared", code="delivery_failed")


def test_notifier_goes_on_from_memory_while_the_database_cannot_be_used(
    start: Start, receiver: MessageReceiver, tmp_path: Path
) -> None:
    daemon = start()
    fail(tmp_path, "first")
    daemon.wait_for(lambda: recorded(daemon, "delivered"), "the first record")
    with closing(sqlite3.connect(f"{daemon.state}/certvigil.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        fail(tmp_path, "second")

        def both() -> bool:
            titles = [got.title.partition(" on ")[0] for got in receiver.accepted]
            degraded = "[warning] web1.example.com: database_degraded: certvigil" in titles
            return degraded and titles.count("[critical] web1.example.com: expired: CN=second.example.com") == 1

        daemon.wait_for(both, "both messages")
        other.execute("ROLLBACK")
    daemon.wait_for(lambda: len(recorded(daemon, "delivered")) >= 3, "the records")
    assert recorded(daemon, "delivered") >= set(receiver.ids)
    daemon.stop(signal.SIGKILL)
    told = len(receiver.accepted)
    daemon.start()
    settled(daemon, receiver)
    assert not [got for got in receiver.accepted[told:] if got.title.startswith("[critical] web1.example.com: expired")]


def test_a_database_begun_anew_gets_what_is_not_told_yet(
    start: Start, receiver: MessageReceiver, tmp_path: Path
) -> None:
    receiver.manner = ReceiverManner.WITH_AN_ERROR
    daemon = start()
    fail(tmp_path)
    daemon.wait_for(lambda: recorded(daemon, "pending"), "the record")
    lost = recorded(daemon, "pending")
    for each in Path(daemon.state).glob("certvigil.db*"):
        each.unlink()
    fail(tmp_path, "other")
    daemon.wait_for(lambda: recorded(daemon, "pending") > lost, "the records")


# What people say back


def test_people_say_that_they_know_and_what_they_do_not_want_to_hear(
    start: Start, receiver: MessageReceiver, tmp_path: Path
) -> None:
    daemon = start()

    def notify(*arguments: str) -> tuple[int, str]:
        done = certvigil("notify", *arguments, "--socket", daemon.socket)
        return done.returncode, done.stdout + done.stderr

    silenced = notify("silence", "--target", f"{tmp_path}/quiet*", "--for", "1h", "--reason", "a \x1b[31mtest")
    assert silenced[0] == 0
    identifier = silenced[1].splitlines()[0].rpartition(": ")[2].strip()
    fail(tmp_path, "quiet")
    fail(tmp_path, "loud")
    daemon.wait_for(lambda: receiver.accepted, "the message")
    (got,) = settled(daemon, receiver)
    assert "loud.example.com" in got.title
    (alert,) = [each for each in alerts(daemon) if "expired" in each["codes"]]
    assert notify("acknowledge", alert["problem"], "--for", "2h") == (0, "acknowledged\n")
    (alert,) = [each for each in alerts(daemon) if "expired" in each["codes"]]
    assert alert["acknowledged"]["who"].startswith("root" if os.geteuid() == 0 else "")
    listed = notify("show")[1]
    assert alert["problem"] in listed
    assert f"({identifier})" in listed
    assert "\x1b[31m" not in listed
    assert notify("acknowledge", "00000000") == (
        1,
        "certvigil notify acknowledge: no channel was told of such a problem\n",
    )
    assert notify("silence", "--for", "soon", "--reason", "x")[0] == 3
    assert notify("silence", "--for", "1h", "--reason", "x", "--finding", "no_such")[0] == 1

    # Neither is forgotten when the daemon starts again.
    assert daemon.stop() == 0
    config = json.loads(Path(daemon.config_file).read_text())
    daemon.configure({key: value for key, value in config.items() if key != "colour"})
    daemon.start()
    (alert,) = [each for each in alerts(daemon) if "expired" in each["codes"]]
    assert alert["acknowledged"]
    assert notify("unsilence", identifier) == (0, "the silence has ended\n")
    assert notify("unsilence", identifier)[0] == 1
    daemon.wait_for(lambda: any("quiet.example.com" in got.title for got in receiver.accepted), "what was silenced")


def test_channels_come_and_go_with_the_configuration(
    start: Start, receiver: MessageReceiver, cleanup: ExitStack, tmp_path: Path
) -> None:
    daemon = start(notifications={"enabled": False})
    fail(tmp_path)
    daemon.wait_until("raised", code="expired")
    other = cleanup.enter_context(MessageReceiver())
    daemon.configure(reconfigured(daemon, notifications={}, channels={"chat": {"urls": [other.url(SECRET)]}}))
    assert certvigil("reload", "--socket", daemon.socket).returncode == 0
    daemon.wait_for(lambda: other.accepted, "what is wrong, on the new channel")
    assert receiver.seen == []
    assert series("notifications_pending", channel="ops") not in daemon.metrics()
    assert series("notifications_pending", channel="chat") in daemon.metrics()


def reconfigured(daemon: RunningDaemon, **more: object) -> Mapping[str, object]:
    return {**json.loads(Path(daemon.config_file).read_text()), **more}


def test_channels_are_tried_without_a_daemon(start: Start, receiver: MessageReceiver, cleanup: ExitStack) -> None:
    broken = cleanup.enter_context(MessageReceiver(manner=ReceiverManner.WITH_AN_ERROR))
    channels = {"good": {"urls": [receiver.url(SECRET)]}, "mixed": {"urls": [receiver.url(), broken.url(SECRET)]}}
    daemon = start(channels=channels, wait=False)

    def notify_test(*arguments: str) -> tuple[int, str]:
        done = certvigil("notify", "test", *arguments, "--config", daemon.config_file)
        return done.returncode, done.stdout + done.stderr

    assert notify_test("good") == (0, "good, URL 1 (json) took the message\n")
    assert receiver.accepted[0].title == "[test] web1.example.com: a message to good"
    assert receiver.accepted[0].id
    code, said = notify_test("--json")
    assert code == 1
    assert [(each["url"], each["outcome"], each["status"]) for each in json.loads(said)["tried"]] == [
        ("good, URL 1 (json)", "delivered", None),
        ("mixed, URL 1 (json)", "delivered", None),
        ("mixed, URL 2 (json)", "refused", 500),
    ]
    assert notify_test("god") == (
        3,
        "certvigil notify test: there is no channel 'god' (did you mean 'good'?), expected one of good, mixed\n",
    )
    Path(daemon.log_file).touch()
    daemon.start()


def test_a_heartbeat_is_called_while_the_daemon_looks(start: Start, receiver: MessageReceiver, tmp_path: Path) -> None:
    host, port = receiver.address
    beat = tmp_path / "beat.url"
    beat.write_text(f"http://{host}:{port}/{SECRET}\n")
    beat.chmod(0o600)
    daemon = start(notifications={"heartbeat": {"url_file": str(beat), "every": "0.2s"}})
    daemon.wait_for(lambda: receiver.beats > 3, "some heartbeats")
    daemon.send(signal.SIGSTOP)
    time.sleep(0.5)
    beats = receiver.beats
    time.sleep(0.5)
    assert receiver.beats <= beats + 1
    daemon.send(signal.SIGCONT)
    daemon.wait_for(lambda: receiver.beats > beats + 1, "more heartbeats")
