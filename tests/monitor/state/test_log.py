from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from config.text import Printable
from config.vocabulary import Code, LogFormat, LogLevel
from monitor.state.events import FindingRaised
from monitor.state.log import event_log, log, set_up
from probes.finding import finding


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, levels = root.handlers[:], (root.level, log.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    log.setLevel(levels[1])


def test_a_line_in_json_says_on_which_host_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogFormat.JSON, LogLevel.INFO, "web1.example.com")
    log.info("ready", extra={"facts": {"targets": 3}})
    line = json.loads(capsys.readouterr().err)
    assert (line["host"], line["message"], line["targets"]) == ("web1.example.com", "ready", 3)


def test_a_line_of_text_says_on_which_host_and_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogFormat.TEXT, LogLevel.INFO, "web1.example.com")
    where = {"web/certificate": "/etc/nginx/tls/site.crt", "/etc/ssl/a.pem": "/etc/ssl/a.pem"}
    write = event_log(lambda target: where.get(target, ""))
    found = finding(Code.EXPIRED, Printable("CN=a.example ended"))
    write([FindingRaised(target, 1.0, found) for target in (*where, "gone")])
    lines = capsys.readouterr().err.splitlines()
    assert all(line.endswith('host="web1.example.com"') for line in lines)
    assert ['location="' in line for line in lines] == [True, False, False]
    assert 'raised web/certificate event="raised" target="web/certificate" location="/etc/nginx' in lines[0]


def test_the_message_of_an_exception_breaks_no_line_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogFormat.TEXT, LogLevel.INFO, "web1.example.com")
    error = ValueError("CN=evil\x1b[2J\x85\n2027-01-01T00:00:00Z info raised web/certificate")
    log.error("looking at %s failed", "C:\\web", exc_info=error)
    first, *trace = capsys.readouterr().err.splitlines()
    assert "looking at C:\\web failed" in first, "a backslash stays one"
    assert trace == [r"  ValueError: CN=evil\x1b[2J\x85", "  2027-01-01T00:00:00Z info raised web/certificate"]
