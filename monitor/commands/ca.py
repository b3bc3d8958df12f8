"""`certvigil ca`: a CA of one's own. No other part of certvigil imports it, so nobody reaches it over a socket."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import Encoding

from actions.csr import new_key
from actions.own_ca import make_ca, open_ca, read_request, root_path, sign
from actions.world import World
from config.text import listed, printable
from config.vocabulary import RequestKey
from monitor.commands.complain import complain
from monitor.commands.new_file import why_changeable, why_not_new, write_new_file
from monitor.commands.outcome import cannot
from probes.judge.time import moment

_REFUSED = 1


def init(directory: str, name: str, days: int, permitted: Sequence[str], key: RequestKey) -> int:
    """Make a CA in a new directory; return the exit code."""
    if (trouble := why_changeable(directory)) is not None:
        return cannot(
            "others could put another CA there ({}): name a directory that nobody but root can change", trouble
        )
    try:
        why = make_ca(World(), directory, new_key(key), name=name, days=days, permitted=permitted)
    except OSError as error:
        return cannot("{}: {}", printable(str(error.filename)), printable(str(error.strerror)))
    if why is not None:
        return cannot("{}", why)
    complain(
        "the root is {}: give it to the clients; the key beside it is for root alone", printable(root_path(directory))
    )
    return 0


def sign_request(path: str, directory: str, days: int, out: str | None, *, longer: bool, yes: bool) -> int:
    """Sign a request once its names were shown, and a person agrees; return the exit code."""
    world = World()
    try:
        ca = open_ca(world, directory)
        data = sys.stdin.buffer.read(2**20) if path == "-" else world.read(world.resolve(path))[1]
    except OSError as error:
        return cannot("{} cannot be read: {}", printable(str(error.filename)), printable(str(error.strerror)))
    if isinstance(ca, str):
        return cannot("{}", ca)
    wanted = read_request(data)
    if isinstance(wanted, str):
        return cannot("{} is not signed: {}", printable(path), wanted)
    if out is not None and (trouble := why_not_new(out, "a certificate")) is not None:
        return cannot("{}", trouble)
    issued = sign(ca, wanted, world.now(), days, longer=longer)
    if isinstance(issued, str):
        return cannot("{} is not signed: {}", printable(path), issued)
    complain("names    {}", listed(map(printable, wanted.names)))
    complain("key      {}", wanted.key)
    complain("until    {}", moment(issued.not_valid_after_utc.timestamp()))
    for each in wanted.left_out:
        complain("left out {}", each)
    if not yes and not _agreed():
        complain("certvigil: not signed")
        return _REFUSED
    pem = issued.public_bytes(Encoding.PEM)
    try:
        # For the record, and before anybody has it.
        kept = os.path.join(directory, "issued")
        world.make_directory(kept)
        write_new_file(os.path.join(kept, f"{issued.serial_number:x}.crt"), pem)
        world.sync_directory(kept)
        if out is not None:
            write_new_file(out, pem)
    except OSError as error:
        return cannot("{}: {}", printable(str(error.filename)), printable(str(error.strerror)))
    if out is None:
        sys.stdout.write(pem.decode())
    return 0


def _agreed() -> bool:
    """Ask the person at the terminal; without a terminal, nobody agrees."""
    if not sys.stdin.isatty():
        complain("certvigil: nobody is asked without a terminal; --yes signs what was shown")
        return False
    sys.stderr.write("sign it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
