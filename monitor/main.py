"""Where the command `certvigil` begins."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

UNUSABLE: Final = 3
"""The exit code of a monitoring plugin that was called wrongly: 2, as is usual elsewhere, would be an alarm."""


def main() -> None:
    """Run the command line; `--version` alone answers without loading the rest."""
    if sys.argv[1:] == ["--version"]:
        from config.version import own_version  # noqa: PLC0415 (the metadata of packages are seldom needed)

        sys.stdout.write(f"certvigil {own_version()}\n")
        return
    from config.text import printable  # noqa: PLC0415 (the modules of a command are loaded when it is called)
    from monitor.commands import app  # noqa: PLC0415
    from monitor.commands.narrow import narrowed  # noqa: PLC0415

    # A demonstration that nobody watches ends.
    if sys.argv[1:2] != ["demo"]:
        sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)
    # Not every locale has a character for whatever stands in a certificate.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = narrowed(app, sys.argv[1:])(prog_name="certvigil", standalone_mode=False)
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not _is_somewhere():
            sys.stderr.write("certvigil: the current directory was deleted; change to one that exists\n")
            sys.exit(UNUSABLE)
        # Which package click's exceptions come from depends on the version of Typer.
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            # Called with nothing at all, a group of commands shows its help: text of our own, in lines.
            sys.stdout.write(f"{error.format_message()}\n")
        else:
            sys.stderr.write(f"certvigil: {printable(error.format_message())}\n")
        code = UNUSABLE
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    sys.exit(code)


class _Lasting(io.FileIO):
    """A descriptor whose reader may leave, as `head` does: the rest is dropped.

    A verdict does not depend on who reads it, nor is a transaction left half done for that.
    """

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _lasting(stream: TextIO) -> TextIO:
    """Return a stream that writes where `stream` does, and never fails because nobody reads."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _is_somewhere() -> bool:
    """Whether the directory that the shell is in still exists."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
