"""Delivery through the real apprise, in a real process, to real receivers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import monitor.notify.worker
import monitor.notify.workers
from monitor.lab.process import free_address, wait_for
from monitor.notify.deliver import Message, Receipt, SendOutcome, Tone
from monitor.notify.worker import DeliveryWorker
from monitor.notify.workers import DeliveryWorkers
from tests.kit.receivers import MailServer, MessageReceiver, ReceiverManner

PATIENCE = 60.0
HOSTILE = "CN=<script>alert(1)</script> *bold* [x](http://evil) & Zürich 🔒"
MESSAGE = Message(
    "[critical] expired: web", f"{HOSTILE}\nmessage 0123456789abcdef", "**x**", "web (message 0123456789abcdef)"
)


@pytest.fixture
def worker(cleanup: ExitStack) -> DeliveryWorker:
    worker = DeliveryWorker()
    cleanup.callback(worker.end)
    return worker


@pytest.fixture
def receiver(cleanup: ExitStack) -> MessageReceiver:
    return cleanup.enter_context(MessageReceiver())


@pytest.fixture(autouse=True)
def _reaped() -> Iterator[None]:
    """Leave no process behind."""
    yield
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return


def test_a_message_arrives_as_it_was_written(worker: DeliveryWorker, receiver: MessageReceiver) -> None:
    assert worker.deliver(MESSAGE, receiver.url(), PATIENCE) == Receipt(SendOutcome.DELIVERED)
    (got,) = receiver.accepted
    assert (got.title, got.text, got.id) == (MESSAGE.title, MESSAGE.text, "0123456789abcdef")


def test_there_is_no_process_before_there_is_something_to_say_nor_long_after(
    receiver: MessageReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor.notify.workers, "_IDLE", 0.2)

    async def life() -> None:
        workers = DeliveryWorkers()
        try:
            assert workers.processes == 0
            for _ in range(2):
                workers.make_ready()
            sent = await asyncio.gather(*(workers.deliver(MESSAGE, receiver.url(str(each))) for each in range(2)))
            assert [each.outcome for each in sent] == [SendOutcome.DELIVERED] * 2
            assert workers.processes in {1, 2}
            async with asyncio.timeout(PATIENCE):
                while workers.processes:  # noqa: ASYNC110 (nobody is told of it)
                    await asyncio.sleep(0.05)
            assert (await workers.deliver(MESSAGE, receiver.url())).outcome is SendOutcome.DELIVERED
        finally:
            workers.end()

    asyncio.run(life())
    assert len(receiver.accepted) == 3


@pytest.mark.parametrize("form", ["text", "html"])
def test_mail_arrives_and_what_is_hostile_in_it_means_nothing(
    form: str, worker: DeliveryWorker, cleanup: ExitStack
) -> None:
    server = cleanup.enter_context(MailServer())
    assert worker.deliver(MESSAGE, f"{server.url}&format={form}", PATIENCE) == Receipt(SendOutcome.DELIVERED)
    (got,) = server.mails
    assert got.title == MESSAGE.title
    assert got.id == "0123456789abcdef"
    # The other part of a mail in HTML is plain text.
    assert (got.text.count("<script>"), got.text.count("&lt;script&gt;")) == (1, int(form == "html"))
    assert "Zürich 🔒" in got.text


def test_a_text_that_is_too_long_for_a_service_gives_way_to_the_brief_one(
    worker: DeliveryWorker, receiver: MessageReceiver
) -> None:
    long = Message("t", "x" * 100_000, "", "the brief one (message 0123456789abcdef)")
    assert worker.deliver(long, receiver.url(), PATIENCE).outcome is SendOutcome.DELIVERED
    assert receiver.accepted[0].text == long.brief


def test_what_becomes_of_a_message_is_said_without_the_url(worker: DeliveryWorker, receiver: MessageReceiver) -> None:
    nobody = "json://{}:{}/T0KEN".format(*free_address())
    assert worker.deliver(MESSAGE, nobody, PATIENCE) == Receipt(SendOutcome.UNREACHABLE)
    receiver.manner = ReceiverManner.WITH_AN_ERROR
    receipt = worker.deliver(MESSAGE, receiver.url("T0KEN"), PATIENCE)
    assert receipt == Receipt(SendOutcome.REFUSED, 500)
    assert receipt.why == "answered with status 500"
    for manner in (ReceiverManner.CLOSING, ReceiverManner.TOO_LATE):
        receiver.manner = manner
        assert worker.deliver(MESSAGE, receiver.url("T0KEN"), PATIENCE).outcome is SendOutcome.UNREACHABLE
    for nonsense in ("nonsense://T0KEN", "slack://", "T0KEN", ""):
        assert worker.deliver(MESSAGE, nonsense, PATIENCE) == Receipt(SendOutcome.UNSUPPORTED)


def test_one_that_hangs_is_killed_and_the_next_delivery_goes_through(
    worker: DeliveryWorker, receiver: MessageReceiver
) -> None:
    assert worker.prepare(PATIENCE)
    before = worker.pid
    receiver.manner = ReceiverManner.NOT_AT_ALL
    # Longer than apprise waits is not needed: only the first of both limits matters.
    url = receiver.url("?rto=120&cto=120")
    assert worker.deliver(MESSAGE, url, 0.5) == Receipt(SendOutcome.TIMED_OUT)
    receiver.manner = ReceiverManner.WELL
    assert worker.deliver(MESSAGE, url, PATIENCE) == Receipt(SendOutcome.DELIVERED)
    assert worker.pid != before


def test_a_process_that_is_killed_costs_one_attempt(worker: DeliveryWorker, receiver: MessageReceiver) -> None:
    assert worker.prepare(PATIENCE)
    assert worker.pid is not None
    receiver.manner = ReceiverManner.NOT_AT_ALL
    receipts: list[Receipt] = []
    thread = threading.Thread(target=lambda: receipts.append(worker.deliver(MESSAGE, receiver.url(), PATIENCE)))
    thread.start()
    wait_for(lambda: receiver.seen)
    os.kill(worker.pid, signal.SIGKILL)
    thread.join(PATIENCE)
    assert receipts == [Receipt(SendOutcome.LOST)]
    receiver.manner = ReceiverManner.WELL
    assert worker.deliver(MESSAGE, receiver.url(), PATIENCE) == Receipt(SendOutcome.DELIVERED)


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (("/no/such/python", "-m", "monitor.notify.worker"), "No such file or directory"),
        ((sys.executable, "-P", "-m", "no.such.worker"), "No module named"),
    ],
)
def test_a_worker_that_cannot_be_started_is_called_that(
    command: tuple[str, ...],
    cause: str,
    worker: DeliveryWorker,
    receiver: MessageReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor.notify.worker, "_COMMAND", command)
    receipt = worker.deliver(MESSAGE, receiver.url("T0KEN"), PATIENCE)
    assert receipt.outcome is SendOutcome.NOT_STARTED
    assert cause in receipt.why
    assert receipt.why.startswith("was not tried, since certvigil's own process that delivers could not be started (")
    assert "T0KEN" not in receipt.why
    monkeypatch.undo()
    assert worker.deliver(MESSAGE, receiver.url("T0KEN"), PATIENCE) == Receipt(SendOutcome.DELIVERED)


def test_ending_ends_what_hangs_and_nothing_begins_after_it(worker: DeliveryWorker, receiver: MessageReceiver) -> None:
    assert worker.prepare(PATIENCE)
    receiver.manner = ReceiverManner.NOT_AT_ALL
    receipts: list[Receipt] = []
    thread = threading.Thread(target=lambda: receipts.append(worker.deliver(MESSAGE, receiver.url(), PATIENCE)))
    thread.start()
    wait_for(lambda: receiver.seen)
    worker.end()
    thread.join(PATIENCE)
    assert receipts == [Receipt(SendOutcome.LOST)]
    assert worker.deliver(MESSAGE, receiver.url(), PATIENCE) == Receipt(
        SendOutcome.NOT_STARTED, cause="certvigil is stopping"
    )
    assert worker.pid is None


def test_no_url_is_in_an_argument_list_or_on_a_terminal(
    worker: DeliveryWorker, receiver: MessageReceiver, capfd: pytest.CaptureFixture[str]
) -> None:
    worker.deliver(MESSAGE, receiver.url("T0KEN"), PATIENCE)
    worker.deliver(MESSAGE, "json://{}:{}/T0KEN".format(*free_address()), PATIENCE)
    assert b"T0KEN" not in Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    assert capfd.readouterr() == ("", "")


def test_it_ends_with_whoever_started_it(receiver: MessageReceiver) -> None:
    """Even while it hangs, and however that one ended."""
    receiver.manner = ReceiverManner.NOT_AT_ALL
    child = os.fork()
    if not child:
        DeliveryWorker().deliver(MESSAGE, receiver.url("?rto=120&cto=120"), PATIENCE)
        os._exit(0)
    wait_for(lambda: receiver.seen, PATIENCE)
    (worker,) = _children(child)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(lambda: not _lives(worker))


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_heartbeat_is_called(worker: DeliveryWorker, receiver: MessageReceiver) -> None:
    host, port = receiver.address
    assert worker.beat(f"http://{host}:{port}/T0KEN", 5.0) == Receipt(SendOutcome.DELIVERED)
    assert receiver.beats == 1
    receiver.stop()
    started = time.monotonic()
    assert worker.beat(f"http://{host}:{port}/T0KEN", 5.0) == Receipt(SendOutcome.UNREACHABLE)
    assert time.monotonic() >= started


def test_the_words_of_a_receipt_follow_the_name_of_a_url() -> None:
    assert {Receipt(outcome).why for outcome in SendOutcome} == {
        "took the message",
        "did not take the message",
        "could not be reached",
        "did not answer in time",
        "is nothing that apprise can deliver to",
        "made apprise's plug-in fail",
        "was not tried, since certvigil's own process that delivers could not be started",
        "may have taken the message: certvigil's own process that delivers ended under way",
    }
    assert Message("a", "b", "c", "d").tone is Tone.INFO
