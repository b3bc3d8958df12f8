"""Whatever fails, lies or interferes, a transaction has one expected end, and says it in a sentence."""

from __future__ import annotations

import errno
import inspect
import os
import re
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import actions.transaction
from actions import backup
from actions.backup import Retention
from actions.ending import Cause, Ending, Outcome
from actions.journal import Event, Record
from actions.journal_state import frozen
from actions.lock import Locks, acquire
from actions.plan import Change, Kind, Order, Plan, plan_from_json, plan_to_json
from actions.process import ProcessId
from actions.recover import recover, thaw
from actions.target import state
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from actions.validate import Acceptance, Live, LiveView, Served, Terms
from actions.world import ORDINARY, Place, Ran, World
from config.model import DAY
from config.service import Command, Service
from tests.kit.scene import Scene, broken, new_state, sha, trace_of
from tests.kit.worlds import Step, StepWorld, intrude


def test_an_order_replaces_bytes_mode_and_owner_and_leaves_a_backup(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    changes = tuple(replace(each, after=replace(new_state(each), mode=0o400, group=12)) for each in order.plan.changes)
    context = scene.context()
    ending = transact(context, Order(replace(order.plan, changes=changes), order.content))
    assert (ending.outcome, ending.sentence) == (Outcome.COMMITTED, "web: the files are in use.")
    for change in changes:
        assert state(World(), change.path) == change.after
    (kept,) = Path(f"{room}/s/state/backups/web").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {(kept / name).read_bytes() for name in ("0000", "0001")} == {
        b"old key\n" * 9,
        b"GOOD old certificate\n" * 9,
    }


def test_a_file_keeps_its_access_list_and_a_rollback_gives_back_the_very_inode(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    access = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *each)
        for each in ((1, 6, 2**32 - 1), (2, 4, 33), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1))
    )
    os.setxattr(scene.key("web"), "system.posix_acl_access", access)
    before = os.stat(scene.key("web"))
    assert scene.replace().outcome is Outcome.ROLLED_BACK
    assert os.stat(scene.key("web")).st_ino == before.st_ino
    assert os.stat(scene.key("web")).st_mtime_ns == before.st_mtime_ns
    scene.new = {}
    assert scene.replace().outcome is Outcome.COMMITTED
    assert os.stat(scene.key("web")).st_ino != before.st_ino
    assert os.getxattr(scene.key("web"), "system.posix_acl_access") == access


def test_no_byte_of_a_key_is_journalled_or_said(room: Path) -> None:
    for number, new in enumerate((b"GOOD new", b"BAD", b"GOOD no java")):
        scene = Scene(f"{room}/{number}", new={"web": new})
        ending = scene.replace()
        journal = Path(f"{scene.root}/state/journal.jsonl").read_bytes()
        for secret in (b"the new key", b"old key"):
            assert secret not in journal
            assert secret.decode() not in repr(ending)


# What services and clients may lie about


def nobody(_components: tuple[str, ...], _files: Mapping[str, bytes], _now: float) -> frozenset[Acceptance]:
    return frozenset()


def shell(line: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", line)


def ended(ending: Ending) -> tuple[Outcome, Cause]:
    return ending.outcome, ending.cause


def quarantine(scene: Scene) -> bool:
    return any(each.event is Event.QUARANTINED for each in scene.records())


def test_a_restart_that_succeeds_while_the_old_certificate_is_served_is_undone(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    ending = scene.replace(web=Service(restart=("/bin/true",)))
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert "web (default) presents" in ending.sentence
    assert broken(scene, order) == []
    assert not quarantine(scene), "it was not the candidate's fault"


def test_a_restart_that_fails_is_undone_and_the_candidate_put_in_quarantine(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    up = scene.service("web").restart
    test = f"grep -q old {scene.certificate('web')} || {{ rm -f {scene.root}/web.memory; echo no; exit 1; }}"
    service = Service(restart=shell(f"{test}; {' '.join(up)}"))
    ending = scene.replace(web=service)
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.ACTIVATION)
    assert "ended with status 1: no; undone" in ending.sentence
    assert broken(scene, order) == []
    again = scene.replace(web=service)
    assert ended(again) == (Outcome.REFUSED, Cause.QUARANTINED)


def test_a_restart_that_hangs_is_ended_and_undone(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    up = " ".join(scene.service("web").restart)
    hang = f"grep -q old {scene.certificate('web')} || {{ rm -f {scene.root}/web.memory; sleep 60; }}; {up}"
    ending = scene.replace(web=Service(restart=shell(hang), timeout=0.3))
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.ACTIVATION_TIMEOUT)
    assert "did not end within 0.3 s" in ending.sentence
    assert broken(scene, order) == []
    assert not quarantine(scene), "a machine that is busy is no fault of the candidate"


def test_a_port_that_never_opens_is_undone(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    up = " ".join(scene.service("web").restart)
    restart = shell(f"rm -f {scene.root}/web.memory; ! grep -q old {scene.certificate('web')} || {up}")
    ending = scene.replace(web=Service(restart=restart))
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert "web (default) does not answer" in ending.sentence
    assert broken(scene, order) == []


def test_a_service_that_comes_back_with_neither_set_is_frozen_and_left_to_an_operator(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    ending = scene.replace(web=Service(restart=shell(f"rm -f {scene.root}/web.memory; exit 3")))
    assert ended(ending) == (Outcome.FROZEN, Cause.ACTIVATION)
    assert "the service does not serve the files on disk again: " in ending.sentence
    assert "FROZEN" in ending.sentence
    assert [state(World(), each.path) for each in order.plan.changes] == [each.before for each in order.plan.changes]
    assert "web" in frozen(scene.records())
    assert ended(scene.replace()) == (Outcome.REFUSED, Cause.COMPONENT_FROZEN)
    assert thaw(scene.context(), "web") is None
    assert scene.beside() == []
    assert scene.replace().outcome is Outcome.COMMITTED


def test_a_supervisor_that_gave_up_is_told_to_forget_before_the_restart_that_undoes(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    gave_up = f"{room}/gave-up"
    up = " ".join(scene.service("web").restart)
    restart = shell(
        f"test ! -e {gave_up} || exit 1; grep -q old {scene.certificate('web')} || {{ touch {gave_up}; exit 1; }}; {up}"
    )
    ending = scene.replace(web=Service(restart=restart, reset=("/bin/rm", gave_up)))
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.ACTIVATION)
    assert broken(scene, order) == []


def test_a_client_that_no_longer_accepts_undoes_and_is_named(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    order = scene.order()
    ending = scene.replace()
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.CLIENT_LOST)
    assert "refuse the new: java at web; undone" in ending.sentence
    assert broken(scene, order) == []
    assert quarantine(scene)


def test_a_client_whose_loss_was_expected_undoes_nothing(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"}, expected_losses=("java",))
    assert scene.replace().outcome is Outcome.COMMITTED


def test_one_component_that_fails_undoes_all_of_them(room: Path) -> None:
    scene = Scene(f"{room}/s", components=("mail", "web"), new={"web": b"GOOD no browser"})
    order = scene.order()
    assert scene.replace().outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


def test_components_that_share_a_service_have_it_restarted_once_and_undone_once(room: Path) -> None:
    scene = Scene(f"{room}/s", components=("web-ec", "web-rsa"), new={"web-rsa": b"GOOD no java"})
    order = scene.order()
    up = "; ".join(" ".join(scene.service(each).restart) for each in scene.components)
    both = Service(restart=shell(f"echo >> {room}/restarts; {up}"))
    context = replace(scene.context(), services=dict.fromkeys(scene.components, both))
    assert transact(context, order).outcome is Outcome.ROLLED_BACK
    assert Path(f"{room}/restarts").read_text() == "\n" * 2, "onto the new files, and back"
    assert broken(scene, order) == []


def test_a_configuration_test_that_fails_before_means_that_nothing_is_touched(room: Path) -> None:
    scene = Scene(f"{room}/s")
    world = StepWorld()
    ending = scene.replace(world, web=Service(restart=("/bin/false",), test=shell("echo line 7; exit 1")))
    assert ended(ending) == (Outcome.REFUSED, Cause.CONFIG_TEST_BEFORE)
    assert ending.sentence.endswith("ended with status 1: line 7; nothing was changed.")
    assert not any("/web/" in each.about and each.changes for each in world.trace)


def test_a_configuration_test_that_fails_with_the_new_files_costs_no_restart(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"BAD"})
    order = scene.order()
    world = StepWorld()
    ran: list[str] = []

    def note(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        ran.extend([given[0][0]] if step.name == "run" else [])
        return act()

    world.fault = note
    assert ended(scene.replace(world)) == (Outcome.ROLLED_BACK, Cause.CONFIG_TEST)
    assert ran == ["/bin/grep", "/bin/grep"]
    assert broken(scene, order) == []


class Seeing(Scene):
    """A scene whose looks are altered on the way."""

    alter: Callable[[LiveView], LiveView] = staticmethod(lambda live_view: live_view)

    def look(self, components: tuple[str, ...], _now: float) -> LiveView:
        return type(self).alter(super().look(components, _now))


def seeing(alter: Callable[[LiveView], LiveView]) -> type[Seeing]:
    return type("Seeing", (Seeing,), {"alter": staticmethod(alter)})


OLD = sha(b"GOOD old certificate\n" * 9)


@pytest.mark.parametrize("how", ["[::1]:443", "worker 4", "default name", "EC"])
def test_one_way_of_asking_that_still_gets_the_old_certificate_undoes(how: str, room: Path) -> None:
    """IPv4 new and IPv6 old, three workers of four, the SNI name only, RSA new and EC old: all are one case here."""
    scene = seeing(lambda live_view: replace(live_view, served=(*live_view.served, Served("web", how, (OLD,)))))(
        f"{room}/s"
    )
    order = scene.order()
    ending = scene.replace()
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert f"web ({how}) presents" in ending.sentence
    assert broken(scene, order) == []


def test_what_did_not_answer_before_need_not_answer_after(room: Path) -> None:
    def dead(live_view: LiveView) -> LiveView:
        return replace(live_view, served=(*live_view.served, Served("web", "[::1]:443", (), "refused")))

    assert seeing(dead)(f"{room}/s").replace().outcome is Outcome.COMMITTED
    ending = seeing(dead)(f"{room}/t", terms=Terms(2, 0.0, 0.2, required=True)).replace()
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)


@pytest.mark.parametrize(
    ("dark_only", "remark"),
    [
        (False, "not seen, since nobody answered there before or after: mail"),
        (True, "no endpoint answered before or after: the change was not seen live"),
    ],
)
def test_an_endpoint_that_never_answers_is_never_said_to_serve(room: Path, *, dark_only: bool, remark: str) -> None:
    dead = Served("mail", "v4", (), "Connection refused")

    def beside(live_view: LiveView) -> LiveView:
        return LiveView((dead,)) if dark_only else replace(live_view, served=(*live_view.served, dead))

    scene = seeing(beside)(f"{room}/s")
    ending = scene.replace()
    assert (ending.outcome, ending.remarks) == (Outcome.COMMITTED, (remark,))
    (validated,) = (each.data for each in scene.records() if each.event is Event.VALIDATED)
    assert (validated["seen"], validated["unseen"]) == (not dark_only, ["mail"])


def test_a_look_that_raises_sees_nothing_and_undoes_what_it_cannot_see(room: Path) -> None:
    looks: Iterator[bool] = iter([False, True])

    def blind(live_view: LiveView) -> LiveView:
        if next(looks, False):
            raise RuntimeError("secret")
        return live_view

    scene = seeing(blind)(f"{room}/s", terms=Terms(1, 1.0, 0.0))
    ending = scene.replace()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert "a look failed: RuntimeError" in ending.remarks
    assert "secret" not in repr(ending)


def test_an_old_set_that_is_worse_is_not_brought_back_for_one_way_that_keeps_it(room: Path) -> None:
    """One worker of four keeps an old certificate that has expired: three that serve are better than none."""
    scene = seeing(lambda live_view: replace(live_view, served=(*live_view.served, Served("web", "worker 4", (OLD,)))))(
        f"{room}/s"
    )
    ending = transact(replace(scene.context(), live=Live(scene.look, nobody)), scene.order())
    assert ended(ending) == (Outcome.FAILED_FORWARD, Cause.NOT_SERVED)


def test_an_old_set_that_nobody_would_accept_any_more_is_not_brought_back(room: Path) -> None:
    """Expired or revoked: the new one loses a client, but the old one, judged now, has none."""
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    order = scene.order()
    context = replace(scene.context(), live=Live(scene.look, nobody))
    ending = transact(context, order)
    assert ended(ending) == (Outcome.FAILED_FORWARD, Cause.CLIENT_LOST)
    assert "nobody would be better off with the old files" in ending.sentence
    assert [state(World(), each.path) for each in order.plan.changes] == [each.after for each in order.plan.changes]
    assert scene.beside() == []


def test_the_old_set_is_judged_by_its_own_bytes(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    judged: list[bytes] = []

    def judge(components: tuple[str, ...], files: Mapping[str, bytes], now: float) -> frozenset[Acceptance]:
        judged.append(files[scene.certificate("web")])
        return scene.judge(components, files, now)

    assert (
        transact(replace(scene.context(), live=Live(scene.look, judge)), scene.order()).outcome is Outcome.ROLLED_BACK
    )
    assert judged == [b"GOOD old certificate\n" * 9]


def test_a_dead_port_is_never_kept_for_the_sake_of_an_old_set_that_is_no_better(room: Path) -> None:
    scene = Scene(f"{room}/s")
    up = " ".join(scene.service("web").restart)
    restart = shell(f"rm -f {scene.root}/web.memory; ! grep -q old {scene.certificate('web')} || {up}")
    context = replace(scene.context(web=Service(restart=restart)), live=Live(scene.look, nobody))
    assert ended(transact(context, scene.order())) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert scene.memory("web") != b""


def test_a_service_that_claims_a_restart_and_is_the_same_process_is_found_out(room: Path) -> None:
    """Where the certificate stays the same, only the process can tell."""
    scene = Scene(f"{room}/s", new={"web": b"GOOD old certificate\n" * 9})
    order = scene.order()
    same = Service(restart=scene.service("web").restart, identity=("/bin/echo", "MainPID=7"))
    ending = scene.replace(web=same)
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_PROVEN)
    assert broken(scene, order) == []


# Others who write


def test_a_file_edited_at_any_step_is_never_overwritten(room: Path) -> None:
    """At each step someone else puts another certificate in place: it stays, or what was there before it was."""
    wrong: list[str] = []
    outcomes: set[Outcome] = set()
    trace = trace_of(Scene(f"{room}/trace"))
    last = max(step.number for step in trace if step.name == "run")
    for step in [each for each in trace if each.changes or each.name == "read"]:
        scene = Scene(f"{room}/{step.number}")
        theirs = b"GOOD of someone else"

        def edit(scene: Scene = scene, theirs: bytes = theirs) -> None:
            Scene.write(scene.certificate("web") + ".theirs", theirs)
            os.rename(scene.certificate("web") + ".theirs", scene.certificate("web"))

        ending = scene.replace(world := StepWorld(intrude(step, edit)))
        world.took(step)
        outcomes.add(ending.outcome)
        kept = Path(scene.certificate("web")).read_bytes()
        if kept != theirs:
            wrong.append(f"{step}: {ending.sentence}")
        if ending.outcome is Outcome.COMMITTED and step.number < last:
            wrong.append(f"{step}: committed over an edit")
        if ending.outcome in (Outcome.ROLLED_BACK, Outcome.REFUSED):
            wrong += [f"{step}: the key is not the old one"] * (Path(scene.key("web")).read_bytes() != b"old key\n" * 9)
            wrong += [f"{step}: left {name}" for name in scene.beside()]
    assert wrong == []
    assert outcomes == {Outcome.REFUSED, Outcome.ROLLED_BACK, Outcome.FROZEN, Outcome.COMMITTED}


@pytest.mark.parametrize(
    ("new", "since"),
    [
        pytest.param(b"GOOD new", "", id="commits"),
        # Before it is known that a client is lost, the steps are those of what commits.
        pytest.param(b"GOOD no java", " rolling_back", id="is undone, since the rollback"),
        pytest.param(b"GOOD no java", "", id="is undone", marks=pytest.mark.slow),
    ],
)
def test_what_somebody_puts_in_the_place_of_a_removed_file_at_any_step_stays(
    new: bytes, since: str, room: Path
) -> None:
    given: Mapping[str, Any] = {"removed_chain": True, "new": {"web": new}}
    wrong: list[str] = []
    trace = trace_of(Scene(f"{room}/trace", **given))
    first = next(each.number for each in trace if each.what.endswith(since))
    for step in [each for each in trace if each.number >= first and (each.changes or each.name == "read")]:
        scene = Scene(f"{room}/{step.number}", **given)
        chain = scene.chain("web")

        def edit(scene: Scene = scene, chain: str = chain) -> None:
            Scene.write(f"{chain}.theirs", b"of someone else")
            os.rename(f"{chain}.theirs", chain)

        ending = scene.replace(world := StepWorld(intrude(step, edit)))
        world.took(step)
        kept = Path(chain).read_bytes() if os.path.exists(chain) else b""
        if kept != b"of someone else":
            wrong.append(f"{step}: {kept!r}: {ending.sentence}")
    assert wrong == []


def test_where_names_cannot_be_exchanged_a_rename_takes_the_place(room: Path) -> None:
    for new, outcome in ((b"GOOD new", Outcome.COMMITTED), (b"GOOD no java", Outcome.ROLLED_BACK)):
        scene = Scene(f"{room}/{outcome}", new={"web": new})
        order = scene.order()

        def refuse(step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
            if step.name == "exchange":
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return act()

        assert scene.replace(StepWorld(refuse)).outcome is outcome
        assert broken(scene, order) == []


def test_being_told_to_end_ends_what_has_switched_nothing_and_nothing_later(room: Path) -> None:
    outcomes = []
    for after in range(12):
        scene = Scene(f"{room}/{after}")
        order = scene.order()
        heard: list[Record] = []
        # All that the loop changes is read before its next round.
        context = replace(scene.context(), told=heard.append, stopping=lambda: len(heard) > after)  # noqa: B023
        outcomes.append(transact(context, order).outcome)
        assert broken(scene, order) == []
    assert outcomes == [Outcome.REFUSED] * 3 + [Outcome.COMMITTED] * 9


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_clock_that_jumps_amid_the_transaction_changes_no_verdict(jump: float, room: Path) -> None:
    moments: list[float] = []

    class Jumping(World):
        jumped = 0.0

        def now(self) -> float:
            return super().now() + self.jumped

        def run(
            self,
            command: Command,
            timeout: float,
            begun: Callable[[ProcessId], None] | None = None,
            *,
            spare_server: bool = False,
            place: Place = ORDINARY,
        ) -> Ran:
            self.jumped = jump
            return super().run(command, timeout, begun, spare_server=spare_server, place=place)

    scene = Scene(f"{room}/s")

    def look(components: tuple[str, ...], now: float) -> LiveView:
        moments.append(now)
        return scene.look(components, now)

    context = replace(scene.context(Jumping()), live=Live(look, scene.judge))
    assert transact(context, scene.order()).outcome is Outcome.COMMITTED
    assert max(moments) - min(moments) < DAY


def test_a_service_whose_new_process_is_slow_to_show_is_waited_for(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD old certificate\n" * 9}, terms=Terms(1, 0.01, 5.0))
    scene.write(scene.key("web"), b"another key", 0o640)
    shown = f"{room}/asked"
    identity = ("/bin/sh", "-c", f"echo x >>{shown}; test $(wc -l <{shown}) -gt 3 && echo new || echo old")
    ending = scene.replace(web=replace(scene.service("web"), identity=identity))
    assert ending.outcome is Outcome.COMMITTED
    assert Path(shown).read_text().count("x") == 4


def test_a_file_edited_while_the_service_is_watched_freezes_and_is_not_committed_over(room: Path) -> None:
    def edit(live_view: LiveView) -> LiveView:
        if any(each.chain != (OLD,) for each in live_view.served):
            Scene.write(f"{room}/s/web/site.key", b"of someone else")
        return live_view

    ending = seeing(edit)(f"{room}/s").replace()
    assert ended(ending) == (Outcome.FROZEN, Cause.CHANGED)
    assert "site.key is neither the old nor the new file: it was left alone" in ending.sentence
    assert Path(f"{room}/s/web/site.key").read_bytes() == b"of someone else"


def test_a_link_retargeted_amid_the_transaction_stops_it(room: Path) -> None:
    scene = Scene(f"{room}/s")
    link = f"{room}/current"
    os.symlink(f"{room}/s/web", link)
    order = scene.order()
    plan = replace(
        order.plan,
        changes=tuple(replace(each, given=f"{link}/{os.path.basename(each.path)}") for each in order.plan.changes),
    )

    def retarget() -> None:
        os.unlink(link)
        os.symlink(f"{room}", link)

    context = scene.context(world := StepWorld())
    staged = [step for step in trace_of(Scene(f"{room}/trace")) if step.name == "link"][-1]
    world.fault = intrude(staged, retarget)
    ending = transact(context, Order(plan, order.content))
    assert ended(ending) == (Outcome.REFUSED, Cause.CHANGED)
    assert "symbolic links were changed meanwhile" in ending.sentence
    assert broken(scene, order) == []


def test_what_someone_else_writes_before_it_is_backed_up_counts_for_no_old_set(room: Path) -> None:
    """The other component kept its new file, and its service went on with the old one: the old set looked broken."""
    scene = Scene(f"{room}/s", ("mail", "web"))
    order = scene.order()
    begin = next(step for step in trace_of(Scene(f"{room}/trace", ("mail", "web"))) if step.what.endswith(" begin"))
    context = scene.context(world := StepWorld())
    world.fault = intrude(begin, lambda: Scene.write(scene.key("web"), b"half of a key"))
    ending = transact(context, order)
    assert ended(ending) == (Outcome.REFUSED, Cause.CHANGED)
    now = {each.path: state(World(), each.path) for each in order.plan.changes if each.component == "mail"}
    assert now == {each.path: each.before for each in order.plan.changes if each.component == "mail"}
    assert Path(scene.key("web")).read_bytes() == b"half of a key"


def test_a_plan_made_before_someone_elses_edit_is_out_of_date(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    os.chmod(scene.key("web"), 0o600)
    ending = transact(scene.context(), order)
    assert ended(ending) == (Outcome.REFUSED, Cause.CHANGED)
    assert "was changed after the plan was made; nothing was changed." in ending.sentence


def test_two_at_once_are_one_after_the_other(room: Path) -> None:
    scene = Scene(f"{room}/s", components=("mail", "web"))
    context = scene.context()
    context.prepare()
    locks = acquire(World(), context.locks, ["web"])
    ending = scene.replace()
    assert ended(ending) == (Outcome.REFUSED, Cause.BUSY)
    assert f"process {os.getpid()} is at work on web" in ending.sentence
    assert isinstance(locks, Locks)
    locks.release()
    assert scene.replace().outcome is Outcome.COMMITTED


# Targets


def refused(scene: Scene, order: Order | None = None, terms: Terms | None = None) -> str:
    context = scene.context()
    ending = transact(replace(context, terms=terms or context.terms), order or scene.order())
    assert ended(ending) == (Outcome.REFUSED, Cause.TARGET), ending
    return ending.sentence


def test_a_file_with_a_second_name_is_refused(room: Path) -> None:
    scene = Scene(f"{room}/s")
    os.link(scene.key("web"), f"{room}/s/second")
    assert "has 2 names" in refused(scene)


def test_a_directory_that_others_may_write_is_refused(room: Path) -> None:
    scene = Scene(f"{room}/s")
    os.chmod(f"{room}/s/web", 0o777)
    assert f"{room}/s/web can be changed by a lesser user" in refused(scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_a_lesser_user_is_refused_unless_that_user_is_trusted(room: Path) -> None:
    scene = Scene(f"{room}/s")
    os.chown(f"{room}/s/web", 33, 33)
    assert "can be changed by a lesser user" in refused(scene)
    scene.terms = replace(scene.terms, trusted_owners=frozenset({33}))
    assert scene.replace().outcome is Outcome.COMMITTED


def test_a_lineage_of_certbot_is_refused_with_advice(room: Path) -> None:
    scene = Scene(f"{room}/live", components=("web",))
    os.makedirs(f"{room}/renewal")
    Path(f"{room}/renewal/web.conf").touch()
    assert "belongs to certbot, which would undo the change: give the service a copy" in refused(scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_mounted_file_is_refused_and_in_place_is_written_over(room: Path) -> None:
    scene = Scene(f"{room}/s")
    Scene.write(f"{room}/other", b"old key\n" * 9, 0o640)
    if subprocess.run(["mount", "--bind", f"{room}/other", scene.key("web")], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert "is a mount point" in refused(scene)
        scene.in_place = True
        assert scene.replace().outcome is Outcome.COMMITTED
        assert Path(f"{room}/other").read_bytes() == b"the new key\n" * 7
        scene.new = {"web": b"GOOD no java"}
        assert scene.replace().outcome is Outcome.ROLLED_BACK
    finally:
        subprocess.run(["umount", scene.key("web")], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_disk_that_is_really_full_refuses_and_leaves_nothing(room: Path) -> None:
    os.mkdir(f"{room}/small")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", f"{room}/small"], check=False
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        scene = Scene(f"{room}/s")
        Scene.write(f"{room}/small/site.pem", b"old")
        large = os.urandom(128 * 1024)
        before = state(World(), f"{room}/small/site.pem")
        assert before is not None
        change = Change("web", f"{room}/small/site.pem", before, replace(before, sha256=sha(large)))
        ending = transact(scene.context(), Order(Plan(Kind.REPLACE, ("web",), (change,)), {change.path: large}))
        assert ended(ending) == (Outcome.REFUSED, Cause.STORAGE)
        assert "No space left on device; nothing was changed." in ending.sentence
        assert os.listdir(f"{room}/small") == ["site.pem"]
        assert recover(scene.context()) == ()
    finally:
        subprocess.run(["umount", f"{room}/small"], check=True)


def test_bytes_other_than_those_of_the_plan_are_refused(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    ending = transact(scene.context(), Order(order.plan, {**order.content, scene.key("web"): b"another"}))
    assert ended(ending) == (Outcome.REFUSED, Cause.STORAGE)
    assert broken(scene, order) == []


# Activation, backups, plans


def activation(scene: Scene) -> Order:
    serving = scene.order().plan.served
    return Order(Plan(Kind.ACTIVATE, ("web",), (), (), serving, serving), {})


def test_an_activation_puts_the_service_onto_what_is_on_disk(room: Path) -> None:
    scene = Scene(f"{room}/s")
    scene.write(f"{scene.root}/web.memory", b"GOOD and older")
    assert transact(scene.context(), activation(scene)).outcome is Outcome.COMMITTED
    assert scene.memory("web") == b"GOOD old certificate\n" * 9


def test_an_activation_that_does_nothing_is_said_and_leaves_the_service_alone(room: Path) -> None:
    scene = Scene(f"{room}/s")
    scene.write(f"{scene.root}/web.memory", b"GOOD and older")
    ending = transact(scene.context(web=Service(restart=("/bin/true",))), activation(scene))
    assert ended(ending) == (Outcome.FAILED_FORWARD, Cause.NOT_SERVED)


def test_an_activation_that_leaves_the_port_dead_is_frozen(room: Path) -> None:
    scene = Scene(f"{room}/s")
    ending = transact(
        scene.context(web=Service(restart=shell(f"rm -f {scene.root}/web.memory; exit 1"))), activation(scene)
    )
    assert ended(ending) == (Outcome.FROZEN, Cause.ACTIVATION)


def test_the_first_backup_set_is_pinned_and_the_others_are_pruned(room: Path) -> None:
    scene = Scene(f"{room}/s", retention=Retention(2))
    for number in range(5):
        scene.new = {"web": b"GOOD %d" % number}
        assert scene.replace().outcome is Outcome.COMMITTED
    kept = backup.sets(World(), f"{scene.root}/state/backups", "web")
    assert [each.pinned for each in kept] == [True, False, False]
    first = backup.content(World(), f"{scene.root}/state/backups", kept[0])
    assert first[scene.certificate("web")] == b"GOOD old certificate\n" * 9


def test_old_backup_sets_are_removed_but_for_the_default_and_the_last_good_one(room: Path) -> None:
    scene = Scene(f"{room}/s", retention=Retention(20, 100.0))
    root = f"{scene.root}/state/backups"
    for number in range(4):
        scene.new = {"web": b"GOOD %d" % number}
        assert scene.replace().outcome is Outcome.COMMITTED
    sets = backup.sets(World(), root, "web")
    assert len(sets) == 4

    class Later(World):
        def now(self) -> float:
            return super().now() + 1000

    backup.prune(Later(), root, "web", Retention(20, 2000.0))
    assert backup.sets(World(), root, "web") == sets
    is_usable = {sets[2].transaction}.__contains__
    backup.prune(Later(), root, "web", Retention(20, 100.0, lambda of: is_usable(of.transaction)))
    assert backup.sets(World(), root, "web") == (sets[0], sets[2])


def test_a_rollback_without_its_sidecar_takes_the_backup(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    order = scene.order()
    first = [step for step in trace_of(Scene(f"{room}/trace", new=scene.new)) if step.name == "run"][1]

    def lose() -> None:
        for name in scene.beside():
            os.unlink(f"{scene.root}/{name}")

    assert scene.replace(StepWorld(intrude(first, lose))).outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


def test_a_rollback_whose_sidecar_was_written_to_takes_the_backup(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    order = scene.order()
    trace = trace_of(Scene(f"{room}/trace", new=scene.new))
    after_the_switch = [step for step in trace if step.name == "run"][1]

    def spoil() -> None:
        for name in scene.beside():
            with open(f"{scene.root}/{name}", "ab") as file:
                file.write(b"more")

    assert scene.replace(StepWorld(intrude(after_the_switch, spoil))).outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


def test_a_rollback_with_neither_sidecar_nor_an_intact_backup_freezes(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    first = [step for step in trace_of(Scene(f"{room}/trace", new=scene.new)) if step.name == "run"][1]

    def lose() -> None:
        for name in scene.beside():
            os.unlink(f"{scene.root}/{name}")
        (kept,) = Path(f"{scene.root}/state/backups/web").iterdir()
        data = bytearray((kept / "0000").read_bytes())
        data[3] ^= 1
        (kept / "0000").write_bytes(data)

    ending = scene.replace(StepWorld(intrude(first, lose)))
    assert ended(ending) == (Outcome.FROZEN, Cause.CLIENT_LOST)
    assert "is damaged. FROZEN" in ending.sentence


def test_a_plan_comes_back_from_its_record_as_it_was(room: Path) -> None:
    plan = Scene(f"{room}/s", missing_chain=True, expected_losses=("java",)).order().plan
    assert plan_from_json(plan_to_json(plan)) == plan
    assert plan_from_json(plan_to_json(plan)).hash == plan.hash


def test_a_state_directory_that_cannot_be_used_is_said(room: Path) -> None:
    scene = Scene(f"{room}/s")
    context = scene.context()
    unusable: TransactionContext = replace(context, directory=f"{room}/missing")
    assert ended(transact(unusable, scene.order())) == (Outcome.REFUSED, Cause.STORAGE)


def test_the_steps_of_the_docstring_stand_in_the_body_by_the_same_numbers_and_in_the_same_order() -> None:
    told = [int(number) for number in re.findall(r"^ ?(\d+)\. ", actions.transaction.__doc__ or "", re.MULTILINE)]
    body = inspect.getsource(actions.transaction).partition("import annotations")[2]
    done = [int(number) for number in re.findall(r"# (\d+)\. ", body)]
    assert list(dict.fromkeys(done)) == told == list(range(1, len(told) + 1))
