"""What commands print for people, as it arrives where it is read."""

from __future__ import annotations

import os

from monitor.commands.screen import Screen


def test_a_line_is_in_the_pipe_as_soon_as_it_is_said() -> None:
    """It was there once the command had ended: nobody could follow a replacement, or a demonstration in a container."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(reading, "rb") as pipe, open(writing, "w", encoding="utf-8") as stream:
        Screen(stream).say("switched a file")
        assert pipe.read() == b"switched a file\n"
