from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from config.vocabulary import LogFormat, LogLevel
from monitor.log import log, set_up


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
