"""Services are driven by argument lists, in bounded time, and what they say is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actions import service
from actions.ending import Cause, Outcome
from actions.world import World
from config.service import Activation, Service, systemd
from tests.kit.scene import Scene

# As systemctl of systemd 252 answers; `show` leaves out what an older one does not know.
SYSTEMCTL = """#!/bin/sh
# A unit is a directory: `memory` is what its process holds, `failed` that its start limit was hit, `id` its process.
unit=$(dirname "$0")/unit
run() {
    test ! -e "$unit/failed" || { echo "Job for demo.service failed. Start request repeated too quickly." >&2; exit 1; }
    rm -f "$unit/memory"
    grep -q GOOD "$unit/file" || { touch "$unit/failed"; echo "Job for demo.service failed." >&2; exit 1; }
    cp "$unit/file" "$unit/memory"
    echo $(($(cat "$unit/id") + 1)) > "$unit/id.new" && mv "$unit/id.new" "$unit/id"
}
echo "$@" >> "$unit/log"
case "$1" in
restart | start) run ;;
reload) test -e "$unit/memory" || exit 1; grep -q GOOD "$unit/file" && cp "$unit/file" "$unit/memory" ;;
stop) rm -f "$unit/memory" ;;
reset-failed) rm -f "$unit/failed" ;;
show) test "$4" = demo.service || exit 1
    echo "MainPID=$(cat "$unit/id")"
    test -e "$unit/old" || echo "InvocationID=$(md5sum < "$unit/id" | cut -c1-32)" ;;
*) echo "Unknown command verb $1." >&2; exit 1 ;;
esac
"""


class Unit:
    """A unit of the scripted systemd."""

    def __init__(self, room: Path, file: str) -> None:
        self.directory = room / "unit"
        self.directory.mkdir()
        self.systemctl = str(room / "systemctl")
        Path(self.systemctl).write_text(SYSTEMCTL)
        os.chmod(self.systemctl, 0o755)
        (self.directory / "id").write_text("1")
        os.symlink(file, self.directory / "file")

    def calls(self) -> list[str]:
        return [line.split()[0] for line in (self.directory / "log").read_text().splitlines()]


@pytest.fixture
def make(room: Path) -> Callable[..., tuple[Scene, Unit]]:
    def make(new: bytes = b"GOOD new") -> tuple[Scene, Unit]:
        scene = Scene(f"{room}/s", new={"web": new})
        unit = Unit(room, scene.certificate("web"))
        os.unlink(f"{room}/s/web.memory")
        os.symlink(unit.directory / "memory", f"{room}/s/web.memory")
        (unit.directory / "memory").write_bytes(b"GOOD old certificate\n" * 9)
        return scene, unit

    return make


def test_a_unit_is_restarted_and_the_new_certificate_is_the_proof(make: Callable[..., tuple[Scene, Unit]]) -> None:
    scene, unit = make()
    ending = scene.replace(web=systemd("demo.service", systemctl=unit.systemctl))
    assert ending.outcome is Outcome.COMMITTED
    assert unit.calls() == ["show", "restart"]


def test_a_unit_that_its_supervisor_gave_up_on_is_reset_before_it_is_brought_back(
    make: Callable[..., tuple[Scene, Unit]],
) -> None:
    scene, unit = make(b"BAD")
    ending = scene.replace(web=systemd("demo.service", systemctl=unit.systemctl))
    assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.ACTIVATION)
    assert "Job for demo.service failed." in ending.sentence
    assert unit.calls() == ["show", "restart", "reset-failed", "restart"]
    assert scene.memory("web") == b"GOOD old certificate\n" * 9


def test_a_reload_is_undone_by_a_reload(make: Callable[..., tuple[Scene, Unit]]) -> None:
    scene, unit = make(b"GOOD no java")
    ending = scene.replace(web=systemd("demo.service", systemctl=unit.systemctl, activate=Activation.RELOAD))
    assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.CLIENT_LOST)
    assert unit.calls() == ["reload", "reload"]


def test_a_reload_that_fails_on_the_way_back_becomes_a_restart(make: Callable[..., tuple[Scene, Unit]]) -> None:
    scene, unit = make(b"GOOD no java")
    unit_service = systemd("demo.service", systemctl=unit.systemctl, activate=Activation.RELOAD)
    once = ("/bin/sh", "-c", f"mkdir {unit.directory}/once || exit 1; exec {unit.systemctl} reload demo.service")
    assert scene.replace(web=replace(unit_service, reload=once)).outcome is Outcome.ROLLED_BACK
    assert unit.calls() == ["reload", "reset-failed", "restart"]


def test_a_systemd_without_invocation_ids_still_tells_one_process_from_the_next(
    make: Callable[..., tuple[Scene, Unit]],
) -> None:
    _, unit = make()
    (unit.directory / "old").touch()
    demo = systemd("demo.service", systemctl=unit.systemctl)
    first = service.identity(World(), demo)
    assert first == "MainPID=1"
    assert service.activate(World(), demo) is None
    assert service.identity(World(), demo) == "MainPID=2"


def test_a_stopped_unit_reads_no_file_between_two_renames(make: Callable[..., tuple[Scene, Unit]]) -> None:
    scene, unit = make()
    assert (
        scene.replace(web=systemd("demo.service", systemctl=unit.systemctl, quiesce=True)).outcome is Outcome.COMMITTED
    )
    assert [each for each in unit.calls() if each != "show"] == ["stop", "start"]


def test_a_unit_that_cannot_be_stopped_is_left_as_it_was(make: Callable[..., tuple[Scene, Unit]]) -> None:
    scene, unit = make()
    demo = systemd("demo.service", systemctl=unit.systemctl, quiesce=True)
    ending = scene.replace(web=replace(demo, stop=("/bin/false",)))
    assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.STOP)
    assert scene.memory("web") == b"GOOD old certificate\n" * 9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"restart": ("systemctl", "restart")}, "begins with an absolute path"),
        ({"restart": ()}, "begins with an absolute path"),
        ({"restart": ("/r",), "activate": Activation.RELOAD}, "without 'reload'"),
        ({"restart": ("/r",), "quiesce": True, "stop": ("/s",)}, "without 'stop' and 'start'"),
    ],
)
def test_a_service_that_could_not_do_its_part_cannot_be_declared(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Service(**given)  # type: ignore[arg-type]


def test_no_shell_sees_an_argument() -> None:
    ran = World().run(("/bin/echo", "$HOME; `id` *"), 5.0)
    assert ran.output == "$HOME; `id` *"


def test_a_command_out_of_time_is_killed_with_all_that_it_started(room: Path) -> None:
    started = time.monotonic()
    ran = World().run(("/bin/sh", "-c", f"sleep 60 & echo $! > {room}/pid; wait"), 0.3)
    assert ran.status is None
    assert time.monotonic() - started < 5
    child = int((room / "pid").read_text())
    end = time.monotonic() + 5
    while time.monotonic() < end and Path(f"/proc/{child}").exists() and "Z" not in _process_state(child):
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists() or "Z" in _process_state(child)


def _process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def test_what_stays_in_the_background_does_not_hold_a_command_up(room: Path) -> None:
    started = time.monotonic()
    ran = World().run(("/bin/sh", "-c", f"echo up; sleep 20 & echo $! > {room}/pid"), 10.0)
    assert (ran.status, ran.output) == (0, "up")
    assert time.monotonic() - started < 10
    os.kill(int((room / "pid").read_text()), 9)


def test_what_a_command_says_is_kept_from_its_end_and_made_printable() -> None:
    said = r"head -c 100000 /dev/zero | tr '\0' x; printf '\n\033[31mred\n'; exit 4"
    ran = World().run(("/bin/sh", "-c", said), 5.0)
    assert ran.status == 4
    assert ran.output.endswith("x… / \\x1b[31mred")
    assert len(ran.output) < 17_000


def test_a_command_that_is_not_there_has_status_127() -> None:
    ran = World().run(("/nonexistent/restart",), 5.0)
    assert (ran.status, ran.output) == (127, "/nonexistent/restart: No such file or directory")
