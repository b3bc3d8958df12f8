"""Delivery of one message to one URL through apprise.

A plug-in may wait for as long as it likes, print what it likes and raise what it likes: `monitor.notify.worker` has it
do so in a process of its own.
"""

from __future__ import annotations

import logging
import re
from enum import StrEnum
from typing import Any, Final

from config.immutable import immutable

_STATUS: Final = re.compile(r"error=(\d{3})\b")
_UNREACHABLE: Final = re.compile(r"connection error|connect", re.IGNORECASE)
_AGENT: Final = "certvigil"


class SendOutcome(StrEnum):
    """How an attempt to deliver ended."""

    DELIVERED = "delivered"
    """The service took it."""
    REFUSED = "refused"
    """The service did not take it, or it is not known whether it did."""
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    UNSUPPORTED = "unsupported"
    """Apprise knows no such URL."""
    FAILED = "failed"
    """The plug-in failed."""
    NOT_STARTED = "not_started"
    """Nothing was tried: the process that delivers could not be started."""
    LOST = "lost"
    """The delivering process ended under way, so it is not known whether the message was delivered."""


@immutable
class Receipt:
    """The result of one attempt; nothing in it comes from the URL."""

    outcome: SendOutcome
    status: int | None = None
    """The status of an HTTP service's answer, where it is known."""
    cause: str = ""
    """Why the delivering process could not be started, in the words of the operating system."""

    @property
    def why(self) -> str:
        """The result, for the end of a sentence that begins with the name of a URL."""
        why = _WHY[self.outcome] if self.status is None else f"answered with status {self.status}"
        return f"{why} ({self.cause})" if self.cause else why


_WHY: Final = {
    SendOutcome.DELIVERED: "took the message",
    SendOutcome.REFUSED: "did not take the message",
    SendOutcome.UNREACHABLE: "could not be reached",
    SendOutcome.TIMED_OUT: "did not answer in time",
    SendOutcome.UNSUPPORTED: "is nothing that apprise can deliver to",
    SendOutcome.FAILED: "made apprise's plug-in fail",
    SendOutcome.NOT_STARTED: "was not tried, since certvigil's own process that delivers could not be started",
    SendOutcome.LOST: "may have taken the message: certvigil's own process that delivers ended under way",
}


class Tone(StrEnum):
    """How a message is marked, in the words of apprise."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@immutable
class Message:
    """A message in the forms that services take; all text is printable, and hostile text in it was escaped."""

    title: str
    text: str
    """Plain text, with line breaks."""
    markdown: str
    brief: str
    """One line, for services that take no more."""
    tone: Tone = Tone.INFO


def deliver(message: Message, url: str) -> Receipt:
    """Have apprise deliver `message` to `url`, and return the result; it takes as long as the plug-in does.

    Never raises but what is no Exception.
    """
    import apprise  # noqa: PLC0415 (takes a second, and most of a daemon's life it is not needed)

    noted = _Noted()
    with_noted = logging.getLogger("apprise")
    # From DEBUG on it prints URLs, with the tokens in them.
    with_noted.setLevel(logging.WARNING)
    with_noted.propagate = False
    with_noted.handlers[:] = [noted]
    try:
        asset = apprise.AppriseAsset(app_id=_AGENT, app_desc="certvigil", async_mode=False)
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            return Receipt(SendOutcome.UNSUPPORTED)
        service = apprise.Apprise(asset=asset)
        service.add(plugin)
        form = form_for(message, plugin)
        if service.notify(body=form.body, title=form.title, body_format=form.format, notify_type=str(message.tone)):
            return Receipt(SendOutcome.DELIVERED)
    except Exception:  # noqa: BLE001 (a plug-in may raise anything, and its words may hold the URL)
        return Receipt(SendOutcome.FAILED)
    return noted.receipt()


_MARKUP_ALWAYS: Final = frozenset(
    {
        *("NotifyDiscord", "NotifyFluxer", "NotifyGuilded", "NotifyHomeAssistant", "NotifyHumHub", "NotifyMattermost"),
        *("NotifyMisskey", "NotifyNextcloudTalk", "NotifyNotifiarr", "NotifyRevolt", "NotifyRyver", "NotifySlack"),
        *("NotifySynology", "NotifyZulip"),
    }
)
"""Services, by their classes in apprise, that read plain text as some Markdown all the same."""
_NO_CODE: Final = frozenset({"NotifyWorkflows"})
"""Services that read Markdown and know no block of code in it: cards of Teams."""
_LINK: Final = "Runbook: "
"""The start of a line whose link must work."""


@immutable
class Form:
    """A message in the form for one service."""

    title: str
    body: str
    format: str
    """Of the body, in the words of apprise."""


def form_for(message: Message, plugin: Any) -> Form:
    """Return `message` in a form in which no text has a special meaning to the service of an apprise `plugin`.

    Where a service reads Markdown, each reads another: what all of them show as it is is a block of code, so the title
    goes into it, too. Where it wants HTML, apprise escapes plain text.
    """
    name, room = type(plugin).__name__, plugin.body_maxlen
    reads_markdown = str(plugin.resolve_format("text").value) == "markdown"
    if name in _NO_CODE and reads_markdown and len(message.markdown) <= room:
        return Form("", message.markdown, "markdown")
    if reads_markdown or name in _MARKUP_ALWAYS:
        # As Markdown only where that is what apprise would make of plain text.
        as_it_is = "markdown" if str(plugin.resolve_format("markdown").value) == "markdown" else "text"
        whole = f"{message.title}\n{message.text}"
        body = next(
            (code for text in (whole, _fitted(whole, room - 40)) if len(code := _code(text)) <= room),
            _code(message.brief),
        )
        return Form("", body, as_it_is)
    room -= len(message.title)
    body = next((text for text in (message.text, _fitted(message.text, room)) if len(text) <= room), message.brief)
    return Form(message.title, body, "text")


def _code(text: str) -> str:
    """Return a block of code with `text`, and below it the lines whose links must work."""
    lines = text.split("\n")
    links = [line for line in lines if line.startswith(_LINK)]
    shown = "\n".join(line for line in lines if line not in links).replace("`", "'")
    return "\n".join([f"```\n{shown}\n```", *links])


def _fitted(text: str, room: int) -> str:
    """Return `text` without so many items of its list that it has room; it may still be too long."""
    more = "  and more, for which there is no room here"
    lines = text.split("\n")
    items = [number for number, line in enumerate(lines) if line.startswith("  ")]
    size = len(text) + len(more) + 1
    while items and size > room:
        size -= len(lines.pop(items.pop())) + 1
    if items:
        lines.insert(items[-1] + 1, more)
    return "\n".join(lines)


class _Noted(logging.Handler):
    """Takes from apprise's log only words in which no URL can hide."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._status: int | None = None
        self._unreachable = False

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        status = _STATUS.search(said)
        if status:
            self._status = int(status[1])
        self._unreachable |= _UNREACHABLE.search(said) is not None

    def receipt(self) -> Receipt:
        """Return why a message was not delivered."""
        if self._status is not None:
            return Receipt(SendOutcome.REFUSED, self._status)
        return Receipt(SendOutcome.UNREACHABLE if self._unreachable else SendOutcome.REFUSED)


def beat(url: str, timeout: float) -> Receipt:
    """Request an `http` or `https` URL, and return whether the answer was good; each step waits `timeout` seconds."""
    import urllib.error  # noqa: PLC0415 (loads much, for this alone)
    import urllib.request  # noqa: PLC0415

    request = urllib.request.Request(url, headers={"User-Agent": _AGENT})  # noqa: S310 (the configuration checks it)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        return Receipt(SendOutcome.REFUSED, error.code)
    except TimeoutError:
        return Receipt(SendOutcome.TIMED_OUT)
    except OSError:
        return Receipt(SendOutcome.UNREACHABLE)
    except Exception:  # noqa: BLE001 (its words may hold the URL)
        return Receipt(SendOutcome.FAILED)
    return Receipt(SendOutcome.DELIVERED)
