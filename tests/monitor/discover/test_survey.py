"""What is said of a port by the process that holds it."""

from __future__ import annotations

import pytest

from config.text import Printable
from config.vocabulary import ServerSoftware
from monitor.discover.survey import _Port, _software
from probes.listening import Holder, ListeningSocket, ProcessPlace


@pytest.mark.parametrize(
    ("program", "software"),
    [("nginx", ServerSoftware.NGINX), ("java", None), ("lua5.4", None), ("prosody", ServerSoftware.PROSODY)],
)
def test_the_name_of_an_interpreter_tells_no_server(program: str, software: ServerSoftware | None) -> None:
    holder = Holder(ProcessPlace.HOST, 7, Printable(program))
    assert _software(_Port(ListeningSocket("127.0.0.1", 443, 0, 1), holder, ())) is software
