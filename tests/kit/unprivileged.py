"""A stretch, or a process, without the rights of root."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unprivileged(tmp_path: Path) -> Iterator[None]:
    """Be a user who may read what others may, and no more; whoever is not root is one already."""
    if os.geteuid() != 0:
        yield
        return
    for each in (tmp_path, *tmp_path.parents[:-1]):
        each.chmod(each.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def answered_as(uid: int, answer: Callable[[], bytes], group: int | None = None) -> str:
    """Return the answer that a process of another user comes to; with a `group`, in that group alone.

    An error in it is the answer, as `repr` has it: nothing may come back into the test that forked.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if group is not None:
                os.setgroups([])
                os.setresgid(group, group, group)
            os.setresuid(uid, uid, uid)
            os.write(writing, answer())
        except BaseException as error:  # noqa: BLE001
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said
