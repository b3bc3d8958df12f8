"""What a plan says to the person who approves it: what must have been done, and the vendor's way to do it by hand."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Final

import pytest

from config.load import load
from config.model import Config
from monitor.lab.servers import replace_file
from tests.kit.appliance import appliance
from tests.kit.authority import fresh
from tests.kit.daemon import certvigil, with_usual_paths

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]

FEDERATED: Final = "before its first replacement, federate this secondary appliance"
BY_HAND: Final = "by hand: certvigil guide replace"

State = dict[str, tuple[str, int, int, int, int, int]]


def state(directory: str) -> State:
    """Return content, inode, mode, owner and time of every file below a directory."""
    found: State = {}
    for where, _, names in os.walk(directory):
        for path in (os.path.join(where, name) for name in names):
            status = os.lstat(path)
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found[path] = (
                *(content, status.st_ino, status.st_mode, status.st_uid, status.st_gid),
                status.st_mtime_ns,
            )
    return found


@pytest.mark.parametrize(("role", "asks"), [("primary", False), ("secondary", True), ("single", False)])
def test_a_plan_names_the_runbook_and_asks_a_secondary_appliance_whether_it_was_federated(
    role: str, asks: bool
) -> None:
    with appliance(role) as machine:
        machine.configure_by_profile()
        machine.put(fresh())
        code, said = machine.command("plan", role)
        assert code == 0, said
        assert with_usual_paths(said).count(f"note       {BY_HAND}\n") == 1
        assert (FEDERATED in " ".join(said.split())) is asks
        ran = certvigil("plan", role, "--config", machine.config_file, "--json")
        remarks = json.loads(ran.stdout)["remarks"]
        assert any(FEDERATED in each for each in remarks) is asks
        assert BY_HAND in map(with_usual_paths, remarks)


def test_nothing_but_the_declared_files_is_touched_and_so_no_customer_key() -> None:
    with appliance("primary") as machine:
        machine.configure_by_profile()
        root = f"{machine.directory}/root"
        others = {
            "var/nexthink/console/etc/customer.key": b"-----BEGIN PRIVATE KEY-----\nCUSTOMER\n",
            "var/nexthink/nxnginx/ssl/customer-key.pem": b"customer",
            "var/nexthink/nxnginx/ssl/nginx.key.orig": b"old",
            "var/nexthink/portal/conf/portal.conf": b"globalconfig.ldap.skip-ssl-certificate-validations=false\n",
            "var/nexthink/console/certificates/backup/20260101-portal-nginx.key": b"backup",
        }
        for path, data in others.items():
            os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
            replace_file(f"{root}/{path}", data, 0o600)
        config = load(machine.config_file, {})
        assert isinstance(config, Config)
        declared = {os.path.realpath(file.path) for file in config.files}
        before = {path: each for path, each in state(root).items() if path not in declared}
        assert len(before) == len(others)
        new = fresh()
        for arguments in (
            ("replace", "primary", "--from", machine.given(new)),
            ("activate", "primary", "--force"),
            ("rollback", "primary"),
            ("replace", "primary", "--from", machine.given(fresh())),
            ("reset-to-default", "primary"),
        ):
            code, said = machine.command(*arguments)
            assert code == 0, said
        after = {path: each for path, each in state(root).items() if path not in declared}
        assert {path: after.get(path) for path in before} == before
        # Beside a declared file, its last version lies for some time.
        names = "|".join(re.escape(os.path.basename(each)) for each in declared)
        added = [os.path.basename(path) for path in after.keys() - before.keys()]
        assert [each for each in added if not re.fullmatch(rf"\.({names})\.[0-9a-zT-]+\.old", each)] == []
        assert machine.serves(machine.old)
