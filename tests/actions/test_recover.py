"""Recovery goes by what the disk and the journal say, asks nobody twice, and stops where someone else was at work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from actions.ending import Cause, Outcome
from actions.journal import JournalError
from actions.journal_state import frozen
from actions.lock import Locks, acquire
from actions.plan import Order
from actions.recover import recover, thaw
from actions.target import state
from actions.world import World
from monitor.lab.ca import Authority
from monitor.lab.process import wait_for
from monitor.lab.servers import Lighttpd, Nginx, write_site
from tests.kit import worlds
from tests.kit.matrix import played
from tests.kit.real_server import Real
from tests.kit.scene import Scene, broken
from tests.kit.workers import Workers
from tests.kit.worlds import Cell, Step, StepWorld, WatchedWorld, cells


def killed(scene: Scene, name: str, which: int, when: str = "after") -> None:
    """Kill a replacement at the n-th step of a name."""
    world = StepWorld()
    twin = Scene(f"{scene.root}-twin", scene.components, scene.new)
    twin.replace(world)
    step = [each for each in world.trace if each.name == name and "manifest" not in each.about][which]
    worlds.killed(scene.replace, Cell(step, when))


def test_a_change_interrupted_amid_the_switch_is_undone(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    killed(scene, "exchange", 0)
    (ending,) = scene.recover()
    assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.INTERRUPTED)
    assert ending.sentence == "web: it was interrupted; undone, the old files are in place."
    assert [state(World(), each.path) for each in order.plan.changes] == [each.before for each in order.plan.changes]


def test_a_change_that_was_wholly_switched_is_finished(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    killed(scene, "exchange", 1)
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.COMMITTED
    assert broken(scene, order) == []
    assert scene.memory("web") == b"GOOD new certificate\n" * 7


def test_a_change_that_was_wholly_switched_and_does_not_hold_is_undone(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    order = scene.order()
    killed(scene, "exchange", 1)
    (ending,) = scene.recover()
    assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.CLIENT_LOST)
    assert broken(scene, order) == []


@pytest.mark.parametrize("live", [True, False])
def test_a_file_that_is_neither_the_old_nor_the_new_one_freezes_and_is_left_alone(room: Path, live: bool) -> None:
    scene = Scene(f"{room}/s")
    killed(scene, "exchange", 1)
    Scene.write(scene.certificate("web"), b"GOOD of someone else")
    (ending,) = scene.recover(services_run=live)
    assert ending.outcome is Outcome.FROZEN
    assert f"{scene.certificate('web')} is neither the old nor the new file: it was left alone" in ending.sentence
    assert Path(scene.certificate("web")).read_bytes() == b"GOOD of someone else"
    assert Path(scene.key("web")).read_bytes() == b"the new key\n" * 7, "nothing else was touched either"
    assert "web" in frozen(scene.records())
    assert scene.recover() == ()


def test_an_operator_who_put_things_right_thaws_the_component_and_nothing_is_left_beside(room: Path) -> None:
    scene = Scene(f"{room}/s")
    killed(scene, "exchange", 1)
    Scene.write(scene.certificate("web"), b"GOOD of someone else")
    scene.recover()
    assert scene.beside()
    assert thaw(scene.context(), "web") is None
    assert scene.beside() == []
    assert scene.replace().outcome is Outcome.COMMITTED


def test_of_a_set_that_froze_as_one_what_was_kept_goes_with_the_last_that_is_right(room: Path) -> None:
    scene = Scene(f"{room}/s", ("mail", "web"))
    killed(scene, "exchange", 3)
    Scene.write(scene.certificate("web"), b"GOOD of someone else")
    scene.recover()
    assert set(frozen(scene.records())) == {"mail", "web"}
    kept = scene.beside()
    thaw(scene.context(), "mail")
    assert scene.beside() == kept
    thaw(scene.context(), "web")
    assert scene.beside() == []
    assert frozen(scene.records()) == {}


def _thaw_in(scene: Scene, world: StepWorld) -> None:
    thaw(scene.context(world), "web")


def test_a_thaw_that_was_killed_at_any_step_is_made_good_by_the_next_and_leaves_nothing_beside(room: Path) -> None:
    def frozen_scene(where: str) -> Scene:
        scene = Scene(f"{room}/{where}")
        killed(scene, "exchange", 1)
        Scene.write(scene.certificate("web"), b"GOOD of someone else")
        scene.recover()
        return scene

    scene = frozen_scene("trace")
    world = WatchedWorld(scene.root)
    thaw(scene.context(world), "web")
    for number, cell in enumerate(cells(world.trace)):
        scene = frozen_scene(str(number))
        worlds.killed(partial(_thaw_in, scene), cell)
        if "web" in frozen(scene.records()):
            thaw(scene.context(), "web")
        assert "web" not in frozen(scene.records()), cell
        assert scene.beside() == [], cell


def test_a_torn_file_that_was_written_over_is_made_whole_from_the_backup(room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True)
    order = scene.order()
    world = StepWorld()
    Scene(f"{room}/twin", in_place=True).replace(world)
    first_open = next(each for each in world.trace if each.name == "open" and each.about.endswith("site.key"))
    write = next(each for each in world.trace if each.name == "write_at" and each.number > first_open.number)
    worlds.killed(scene.replace, Cell(write, "amid"))
    assert state(World(), scene.key("web")) not in (order.plan.changes[0].before, order.plan.changes[0].after)
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


def test_what_is_still_under_way_elsewhere_is_left_to_who_does_it(room: Path) -> None:
    scene = Scene(f"{room}/s")
    killed(scene, "exchange", 0)
    context = scene.context()
    locks = acquire(World(), context.locks, ["web"])
    assert isinstance(locks, Locks)
    (ending,) = scene.recover()
    assert (ending.outcome, ending.cause) == (Outcome.REFUSED, Cause.BUSY)
    assert thaw(context, "web") is not None
    locks.release()
    assert [each.outcome for each in scene.recover()] == [Outcome.ROLLED_BACK]


def test_a_damaged_journal_stops_recovery_and_says_so(room: Path) -> None:
    scene = Scene(f"{room}/s")
    killed(scene, "exchange", 0)
    path = Path(f"{scene.root}/state/journal.jsonl")
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match="line 1 of the journal is not what was written"):
        scene.recover()


def test_a_candidate_that_was_found_at_fault_is_in_quarantine_also_when_its_rollback_was_interrupted(
    room: Path,
) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    killed(scene, "exchange", 2)
    scene.recover()
    assert scene.replace().cause is Cause.QUARANTINED


def test_a_rollback_that_was_decided_goes_on_and_is_not_decided_anew(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    killed(scene, "exchange", 2, "before")
    ran: list[str] = []

    def note(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        ran.extend([given[0][0]] if step.name == "run" else [])
        return act()

    (ending,) = scene.recover(StepWorld(note))
    assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.CLIENT_LOST)
    assert ran == ["/bin/cp"], "the new files are neither tested nor activated again"


def test_one_transaction_that_cannot_be_undone_keeps_no_other_from_it(room: Path) -> None:
    scene = Scene(f"{room}/s")
    killed(scene, "exchange", 0)
    other = Scene(f"{room}/other", ("mail",))
    killed(other, "exchange", 0)
    # Two components share one state directory.
    journal = Path(f"{scene.root}/state/journal.jsonl")
    lines = Path(f"{other.root}/state/journal.jsonl").read_bytes().rstrip(b"\0")
    journal.write_bytes(journal.read_bytes().rstrip(b"\0") + lines)
    os.rename(f"{other.root}/state/backups/mail", f"{scene.root}/state/backups/mail")
    os.symlink(f"{other.root}/mail.memory", f"{scene.root}/mail.memory")
    Scene.write(scene.key("web"), b"of someone else")
    outcomes = {each.sentence.partition(":")[0]: each.outcome for each in scene.recover()}
    assert outcomes == {"web": Outcome.FROZEN, "mail": Outcome.ROLLED_BACK}
    assert Path(other.key("mail")).read_bytes() == b"old key\n" * 9


# Real servers


ServerKind = type[Nginx] | type[Lighttpd] | type[Workers]


@contextmanager
def real(kind: ServerKind, room: Path) -> Iterator[Real]:
    ca = Authority.root()
    site = write_site(f"{room}/tls", ca.issue("old.example"))
    with kind(f"{room}/server", [site]) as server:
        yield Real(server, site, ca, f"{room}/state")


each_server = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(Nginx, marks=pytest.mark.server("nginx")),
        pytest.param(Lighttpd, marks=pytest.mark.server("lighttpd")),
        Workers,
    ],
)


@each_server
def test_a_real_server_serves_the_new_certificate_after_a_replacement(kind: ServerKind, room: Path) -> None:
    with real(kind, room) as web:
        order = web.order(web.trusts.issue("new.example"))
        ending = web.replace(World(), order)
        assert ending.outcome is Outcome.COMMITTED, ending
        assert web.handshake() == (web.on_disk(), True)
        assert (web.on_disk(),) == order.plan.serves[0].chains[0]


@each_server
def test_a_real_server_that_its_client_no_longer_accepts_is_rolled_back(kind: ServerKind, room: Path) -> None:
    with real(kind, room) as web:
        order = web.order(Authority.root("Another CA").issue("new.example"))
        ending = web.replace(World(), order)
        assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.CLIENT_LOST)
        assert web.handshake() == (web.on_disk(), True)
        assert (web.on_disk(),) == order.plan.served[0].chains[0]


@each_server
def test_a_key_that_does_not_match_fails_a_real_servers_own_test_and_costs_no_handshake(
    kind: ServerKind, room: Path
) -> None:
    with real(kind, room) as web:
        good = web.order(web.trusts.issue("new.example"))
        key = good.plan.changes[0]
        other = web.order(web.trusts.issue("other.example", key=web.trusts.issue("k").key))
        mixed = type(good)(
            type(good.plan)(
                good.plan.kind,
                good.plan.components,
                (next(each for each in other.plan.changes if each.path == key.path), good.plan.changes[1]),
                (),
                good.plan.serves,
                good.plan.served,
            ),
            {**good.content, key.path: other.content[key.path]},
        )
        pid = web.server.pid
        ending = web.replace(World(), mixed)
        assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.CONFIG_TEST)
        assert web.server.pid == pid
        assert web.handshake() == (web.on_disk(), True)


def _same(ca: Authority) -> Authority:
    return ca


def _another(_: Authority) -> Authority:
    return Authority.root("Another")


def _sample(trace: list[Step]) -> Iterator[Cell]:
    """From the first switch of a target on: after each switch and each command, which is as good as before the next."""
    telling = [each for each in trace if each.name in ("exchange", "run")]
    first = next(each for each in telling if each.name == "exchange")
    yield from (Cell(each, "after") for each in telling if each.number >= first.number)


def _replaced(web: Real, order: Order, world: StepWorld) -> object:
    return web.replace(world, order)


@pytest.mark.parametrize(
    ("kind", "issuer"),
    [
        # What recovery finishes, each kind of server takes up as it does without a kill (see above).
        pytest.param(Nginx, _same, marks=pytest.mark.server("nginx"), id="nginx-good"),
        pytest.param(Lighttpd, _same, marks=[pytest.mark.server("lighttpd"), pytest.mark.slow], id="lighttpd-good"),
        pytest.param(Workers, _same, marks=pytest.mark.slow, id="workers-good"),
        pytest.param(Nginx, _another, marks=pytest.mark.server("nginx"), id="nginx-bad"),
        pytest.param(Lighttpd, _another, marks=pytest.mark.server("lighttpd"), id="lighttpd-bad"),
        # It reloads as nginx does; each of its workers is asked in the tests of what lies.
        pytest.param(Workers, _another, marks=pytest.mark.slow, id="workers-bad"),
    ],
)
def test_a_real_server_serves_what_is_on_disk_wherever_the_transaction_was_killed(
    kind: ServerKind, issuer: Callable[[Authority], Authority], room: Path
) -> None:
    with real(kind, room) as web:
        new = issuer(web.trusts)
        numbers = count()

        def play(cell: Cell) -> list[str]:
            number = next(numbers)
            order = web.order(new.issue(f"{number}.example"))
            chains = {order.plan.serves[0].chains[0][0], order.plan.served[0].chains[0][0]}
            web.state = f"{room}/state-{number}"
            try:
                worlds.killed(partial(_replaced, web, order), cell)
            finally:
                endings = recover(web.context(World()))
                web.let_go()
            # A worker that leaves may accept a last connection after the new ones have been seen.
            with suppress(TimeoutError):
                wait_for(lambda: web.handshake() == (web.on_disk(), True), 30.0)
            served, accepted = web.handshake()
            right = served == web.on_disk() and served in chains and accepted
            return ([] if right else [str(endings)]) + [
                f"left {name}" for name in os.listdir(f"{room}/tls") if name[0] == "."
            ]

        def cells() -> Iterator[Cell]:
            web.state = f"{room}/state-trace-{next(numbers)}"
            web.replace(world := StepWorld(), web.order(new.issue("trace.example")))
            web.let_go()
            return _sample(world.trace)

        assert played(cells, play) == []
