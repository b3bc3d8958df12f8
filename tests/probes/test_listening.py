"""Open ports and their holders, by the tables of the kernel."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from probes.listening import ListeningSocket, ProcessPlace, control_group, listening, open_ports, place_of

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(local: str, state: str = "0A", user: int = 33, inode: int = 4711) -> str:
    return f"   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {user:5d} 0 {inode} 1 0\n"


@pytest.mark.parametrize(
    ("family", "text", "found"),
    [
        (socket.AF_INET, row("0100007F:01BB"), [ListeningSocket("127.0.0.1", 443, 33, 4711)]),
        (socket.AF_INET, row("00000000:0019", user=0), [ListeningSocket("0.0.0.0", 25, 0, 4711)]),
        (socket.AF_INET, row("0100007F:01BB", state="01"), []),
        (socket.AF_INET6, row("00000000000000000000000001000000:01BB"), [ListeningSocket("::1", 443, 33, 4711)]),
        (
            socket.AF_INET6,
            row("B80D0120000000000000000007000000:01BB"),
            [ListeningSocket("2001:db8::7", 443, 33, 4711)],
        ),
        (
            socket.AF_INET6,
            row("0000000000000000FFFF00000100007F:20FB"),
            [ListeningSocket("127.0.0.1", 8443, 33, 4711)],
        ),
        (socket.AF_INET, "   0: nonsense\n" + row("XX:1"), []),
    ],
)
def test_a_table_of_the_kernel_is_read(family: socket.AddressFamily, text: str, found: list[ListeningSocket]) -> None:
    assert list(listening(iter([HEADING, *text.splitlines(keepends=True)]), family)) == found


@pytest.mark.parametrize(
    ("text", "place", "unit"),
    [
        ("0::/system.slice/nginx.service\n", ProcessPlace.SYSTEM, "nginx.service"),
        ("0::/system.slice/system-postfix.slice/postfix@-.service\n", ProcessPlace.SYSTEM, "postfix@-.service"),
        ("1:name=systemd:/system.slice/apache2.service\n0::/\n", ProcessPlace.SYSTEM, "apache2.service"),
        ("1:name=systemd:/\n0::/system.slice/apache2.service\n", ProcessPlace.SYSTEM, "apache2.service"),
        ("1:name=systemd:/\n0::/\n", ProcessPlace.HOST, None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service\n", ProcessPlace.USER, None),
        ("0::/user.slice/user-0.slice/session-1.scope\n", ProcessPlace.USER, None),
        ("0::/system.slice/docker-0123456789ab.scope\n", ProcessPlace.ELSEWHERE, None),
        ("0::/machine.slice/libpod-0123.scope/container\n", ProcessPlace.ELSEWHERE, None),
        ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope\n", ProcessPlace.ELSEWHERE, None),
        ("0::/lxc.payload.web/system.slice/nginx.service\n", ProcessPlace.ELSEWHERE, None),
        ("0::/\n", ProcessPlace.HOST, None),
        ("0::/init.scope\n", ProcessPlace.HOST, None),
        ("", ProcessPlace.HOST, None),
    ],
)
def test_a_control_group_tells_the_unit_of_the_system_and_what_is_elsewhere(
    text: str, place: ProcessPlace, unit: str | None
) -> None:
    assert place_of(control_group(text)) == (place, unit)


def test_an_open_port_is_found_with_its_holder_and_one_that_is_shared_is_one_port() -> None:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", one.getsockname()[1] if each is other else 0))
            each.listen()
        opened = open_ports()
        (found,) = (each for each in opened.sockets if each.port == one.getsockname()[1])
        assert (found.address, found.user) == ("127.0.0.1", os.geteuid())
        assert opened.holders[found.inode].process == os.getpid()
        assert found.inode == min(os.fstat(each.fileno()).st_ino for each in (one, other))


@dataclass
class ModelProc:
    """A /proc of few processes, of which 7 holds the socket 4711."""

    directory: Path

    def add(self, name: str, root: Path, group: str, parent: int = 1, **namespaces: str) -> None:
        made = self.directory / name
        for each in ("ns", "fd", "net"):
            (made / each).mkdir(parents=True)
        for each in ("net", "pid", "user"):
            (made / "ns" / each).symlink_to(namespaces.get(each, f"{each}:[1]"))
        (made / "root").symlink_to(root)
        (made / "comm").write_text("haproxy\n")
        (made / "cgroup").write_text(f"0::{group}\n")
        (made / "status").write_text(f"Name:\thaproxy\nPPid:\t{parent}\n")
        (made / "net/tcp").write_text(HEADING + row("0100007F:01BB"))
        if name == "7":
            (made / "fd/5").symlink_to("socket:[4711]")


UNIT = "/system.slice/haproxy.service"


@pytest.mark.parametrize(
    ("group_of_parent", "root_of_parent", "namespaces", "place"),
    [
        (UNIT, "whole", {}, ProcessPlace.SYSTEM),
        (UNIT, "smaller", {}, ProcessPlace.ELSEWHERE),
        ("/init.scope", "whole", {}, ProcessPlace.ELSEWHERE),
        (UNIT, "whole", {"pid": "pid:[2]"}, ProcessPlace.ELSEWHERE),
        (UNIT, "whole", {"user": "user:[2]"}, ProcessPlace.ELSEWHERE),
    ],
    ids=["of its own", "of the whole unit", "of the unit's only process", "in other processes", "as other users"],
)
def test_a_server_that_gave_itself_a_smaller_root_is_on_the_host_and_one_that_was_given_one_is_not(
    tmp_path: Path, group_of_parent: str, root_of_parent: str, namespaces: dict[str, str], place: ProcessPlace
) -> None:
    """Debian's haproxy changes the root of its worker, which alone holds the ports; the master keeps the host's."""
    roots = {each: tmp_path / each for each in ("whole", "smaller")}
    for each in roots.values():
        each.mkdir()
    proc = ModelProc(tmp_path / "proc")
    proc.add("self", roots["whole"], "/user.slice/session-1.scope")
    proc.add("6", roots[root_of_parent], group_of_parent)
    proc.add("7", roots["smaller"], UNIT, 6, **namespaces)
    holder = open_ports(str(proc.directory)).holders[4711]
    assert (holder.place, holder.process) == (place, 7)
    assert holder.unit == ("haproxy.service" if place is ProcessPlace.SYSTEM else None)


def test_a_host_without_such_tables_says_so(tmp_path: Path) -> None:
    assert open_ports(str(tmp_path)).unread == (f"{tmp_path}/self/net/tcp",)


def test_no_port_is_hidden_by_those_that_somebody_else_opens(tmp_path: Path) -> None:
    table = tmp_path / "self/net/tcp"
    table.parent.mkdir(parents=True)
    many = "".join(row(f"{number:04X}007F:{number:04X}") for number in range(1, 20_000))
    table.write_text(HEADING + many + row("00000000:01BB", user=0))
    opened = open_ports(str(tmp_path), with_holders=False)
    assert ListeningSocket("0.0.0.0", 443, 0, 4711) in opened.sockets
    assert not opened.cut
    cut = open_ports(str(tmp_path), with_holders=False, most_lines=1_000)
    assert (cut.cut, len(cut.sockets)) == ((str(table),), 999)
