"""The scene: `python -m tests.scene [PART...]` lives with certvigil on a host of many services, and tells of it.

What was said when is printed; where the environment has `SCENE_LOG`, the daemon's log is kept there.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time

from tests.scene.host import host
from tests.scene.life import PARTS, live
from tests.scene.stage import Stage, table


def main() -> int:
    """Print the account; return 1 where a message was false, or a fault was not told in time, 3 where it cannot be."""
    if os.getuid() != 0:
        sys.stderr.write("the scene installs services with users of their own: run it as root\n")
        return 3
    missing = [name for name in ("nginx", "lighttpd", "haproxy", "postfix", "dovecot", "java") if not _found(name)]
    if missing:
        sys.stderr.write(f"not installed: {', '.join(missing)}; make scene installs them on Debian\n")
        return 3
    with tempfile.TemporaryDirectory(prefix="cs-") as directory, host(directory) as made:
        assert made.daemon is not None
        stage = Stage(made.receivers)
        sys.stdout.write(f"eight services, {len(made.fleet)} endpoints elsewhere; this takes about ten minutes\n")
        begun = time.monotonic()
        live(made, stage, sys.argv[1:] or list(PARTS))
        left = stage.settle_accounts()
        sys.stdout.write(f"{table(stage.rows, left)}\n")
        wrong = [row for row in stage.rows if not row.as_expected]
        messages = sum(len(each.accepted) for each in made.receivers.values())
        sys.stdout.write(
            f"{len(stage.rows)} events in {time.monotonic() - begun:.0f} s, {messages} messages; "
            f"{len(wrong)} events not as expected, {len(left)} messages about nothing that was done\n"
        )
        keep = os.environ.get("SCENE_LOG")
        if keep:
            shutil.copy(made.daemon.log_file, keep)
    return 1 if wrong or left else 0


def _found(name: str) -> bool:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is not None


if __name__ == "__main__":
    sys.exit(main())
