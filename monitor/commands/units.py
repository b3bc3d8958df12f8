"""`certvigil config units`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from actions.world import Metadata, World, remove, write_new
from config.text import harmless, printable
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.new_file import why_changeable
from monitor.host.entry import HostUser, installed_at, why_no_entry
from monitor.host.units import units as make


def units(path: str, output: str | None) -> int:
    """Print the units, or write them below the directory `output`; return 1 where they cannot be made."""
    config = loaded(path)
    if config is None:
        return 1
    made = make(config, _command(), os.path.abspath(path))
    if not isinstance(made, Mapping):
        for sentence in made:
            complain("certvigil: {}", harmless(sentence))
        return 1
    places = (_command()[0], *installed_at())
    if (why := why_no_entry(HostUser.named(config.settings.actor.daemon_user), places)) is not None:
        complain("certvigil: warning: {}", why)
    if output is None:
        sys.stdout.write("\n".join(f"# {name}\n{text}" for name, text in made.items()))
        return 0
    if (trouble := why_changeable(output)) is not None:
        complain("certvigil: others could change the units there ({}): root runs what they say", trouble)
        return 1
    try:
        for name, text in made.items():
            _write(os.path.join(output, name), text.encode())
            sys.stdout.write(f"wrote {printable(os.path.join(output, name))}\n")
    except OSError as error:
        complain("certvigil: {}: {}", printable(str(error.filename or output)), printable(str(error.strerror)))
        return 1
    return 0


def _command() -> tuple[str, ...]:
    """Return the command by which this program was started: systemd is to start it in the same way."""
    own = os.path.abspath(sys.argv[0])
    if os.path.basename(own) == "certvigil" and os.access(own, os.X_OK):
        return (own,)
    return sys.executable, "-m", "monitor.main"


def _write(path: str, data: bytes) -> None:
    world, new = World(), f"{path}.new"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    remove(world, new)
    write_new(world, new, data, Metadata(0o644, os.geteuid(), os.getegid()))
    world.rename(new, path)
