"""Somebody else's whole set that is served and accepted ends a transaction at once: nothing undone, nothing frozen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from actions.ending import Cause, Ending, Outcome
from actions.journal import Event
from actions.journal_state import JournalState, frozen
from actions.plan import Kind, Order, Plan
from actions.transaction import transact
from actions.validate import LiveView, Terms, Worth
from actions.verdict import Old
from tests.kit.scene import Scene, trace_of
from tests.kit.worlds import KILLED, StepWorld, in_a_process, intrude, kill

PATIENT = Terms(successes=2, interval=0.01, deadline=30.0)
THEIRS = b"GOOD their certificate\n" * 5


def copy(scene: Scene, *, key: bytes = b"their key\n", certificate: bytes = THEIRS, reload: bool = True) -> None:
    """Do what a hook does that copies what was renewed, and has the service reload."""
    scene.write(scene.key("web"), key, 0o640)
    scene.write(scene.certificate("web"), certificate)
    if reload:
        scene.write(f"{scene.root}/web.memory", certificate, 0o600)


class During(Scene):
    """A scene in which somebody does something each time that what is served is not the old certificate any more."""

    deed: Callable[[Scene], None] = staticmethod(copy)
    done = 0

    def look(self, components: tuple[str, ...], now: float) -> LiveView:
        if b"old" not in self.memory("web"):
            self.done += 1
            self.deed(self)
        return super().look(components, now)


def ended(ending: Ending) -> tuple[Outcome, Cause]:
    return ending.outcome, ending.cause


def once(deed: Callable[[Scene], None]) -> Callable[[Scene], None]:
    def do(scene: Scene) -> None:
        if isinstance(scene, During) and scene.done == 1:
            deed(scene)

    return do


def during(where: str, deed: Callable[[Scene], None] = copy, **more: object) -> During:
    scene = During(where, **{"terms": PATIENT, **more})  # type: ignore[arg-type]
    scene.deed = once(deed)
    return scene


def test_a_whole_set_that_came_during_validation_and_is_served_ends_it_at_once(room: Path) -> None:
    scene = during(f"{room}/s")
    began = time.monotonic()
    ending = scene.replace()
    assert ended(ending) == (Outcome.SUPERSEDED, Cause.CHANGED)
    assert ending.sentence == (
        "web: another writer put another whole set in place meanwhile, which is served, and accepted by all clients "
        "that accepted before; it was left alone."
    )
    assert time.monotonic() - began < PATIENT.deadline / 3, "not only at the deadline"
    assert scene.read(scene.certificate("web")) == THEIRS
    assert scene.memory("web") == THEIRS
    records = scene.records()
    assert not frozen(records)
    assert not {Event.ROLLING_BACK, Event.ROLLED_BACK, Event.FROZEN, Event.QUARANTINED} & {e.event for e in records}
    assert not JournalState.of(records).unfinished
    assert scene.beside() == []
    assert JournalState.of(records).last["web"].outcome is Outcome.SUPERSEDED


def test_a_set_that_is_copied_file_by_file_is_waited_for(room: Path) -> None:
    def slowly(scene: Scene) -> None:
        steps: dict[int, Callable[[], None]] = {
            1: lambda: scene.write(scene.certificate("web"), THEIRS),
            4: lambda: scene.write(scene.key("web"), b"their key\n", 0o640),
            8: lambda: scene.write(f"{scene.root}/web.memory", THEIRS, 0o600),
        }
        assert isinstance(scene, During)
        steps.get(scene.done, lambda: None)()

    scene = during(f"{room}/s")
    scene.deed = slowly
    assert ended(scene.replace()) == (Outcome.SUPERSEDED, Cause.CHANGED)


def test_the_same_content_with_another_mode_supersedes_as_well(room: Path) -> None:
    scene = during(f"{room}/s", lambda scene: os.chmod(scene.key("web"), 0o400))
    assert ended(scene.replace()) == (Outcome.SUPERSEDED, Cause.CHANGED)


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        (lambda scene: copy(scene, key=b"another key\n"), "no whole set"),
        (lambda scene: copy(scene, certificate=b"GOOD their certificate, no java"), "java does not accept it at web"),
        (lambda scene: copy(scene, reload=False), "not the expected chain"),
    ],
    ids=["half a pair", "a client is lost", "not served"],
)
def test_what_is_not_whole_served_and_accepted_by_all_freezes(
    deed: Callable[[Scene], None], why: str, room: Path
) -> None:
    scene = during(f"{room}/s", deed, terms=Terms(successes=2, interval=0.01, deadline=0.3))
    ending = scene.replace()
    assert ended(ending) == (Outcome.FROZEN, Cause.CHANGED)
    assert why in ending.sentence


def test_a_set_that_came_after_the_intent_and_before_the_switch_is_refused_with_nothing_done(room: Path) -> None:
    trace = trace_of(Scene(f"{room}/trace"))
    exchange = next(each for each in trace if each.name == "exchange")
    scene = Scene(f"{room}/s", terms=PATIENT)
    world = StepWorld(intrude(trace[exchange.number - 6], lambda: copy(scene)))
    began = time.monotonic()
    ending = scene.replace(world)
    assert ended(ending) == (Outcome.REFUSED, Cause.CHANGED)
    assert time.monotonic() - began < PATIENT.deadline / 3
    assert Event.INTENT in {each.event for each in scene.records()}
    # The one test of before; no service is touched for it.
    assert [each.name for each in world.trace].count("run") == 1
    assert (scene.read(scene.certificate("web")), scene.memory("web")) == (THEIRS, THEIRS)
    assert scene.beside() == []


def test_a_set_with_a_key_that_was_given_up_supersedes_nothing_and_is_frozen(room: Path) -> None:
    def worth(_components: tuple[str, ...], files: Mapping[str, bytes], _now: float) -> Worth:
        return Worth(Old.BARRED, "its key was given up") if THEIRS in files.values() else Worth()

    scene = during(f"{room}/s", copy, terms=PATIENT)
    context = scene.context()
    with closing(context.journal):
        ending = transact(replace(context, live=replace(context.live, worth=worth)), scene.order())
    assert ended(ending) == (Outcome.FROZEN, Cause.CHANGED)
    assert "its key was given up" in ending.sentence
    assert scene.read(scene.certificate("web")) == THEIRS


@pytest.mark.parametrize("what", ["exchange", "run"])
def test_a_set_that_came_while_files_were_switched_supersedes(what: str, room: Path) -> None:
    steps = [each for each in trace_of(Scene(f"{room}/trace")) if each.name == what]
    scene = Scene(f"{room}/s", terms=PATIENT)
    ending = scene.replace(StepWorld(intrude(steps[1], lambda: copy(scene))))
    assert ending.outcome in {Outcome.SUPERSEDED, Outcome.REFUSED}, ending
    assert (scene.read(scene.certificate("web")), scene.memory("web")) == (THEIRS, THEIRS)
    assert scene.read(scene.key("web")) == b"their key\n"
    assert not frozen(scene.records())
    assert scene.beside() == []


def test_recovery_gives_way_to_a_set_that_came_while_nobody_was_at_work(room: Path) -> None:
    run = [each for each in trace_of(Scene(f"{room}/trace")) if each.name == "run"][-1]
    scene = Scene(f"{room}/s", terms=PATIENT)
    assert in_a_process(lambda: scene.replace(StepWorld(kill(run, "after")))) == KILLED
    copy(scene)
    (ending,) = scene.recover()
    assert ended(ending) == (Outcome.SUPERSEDED, Cause.CHANGED)
    assert scene.recover() == ()
    assert scene.beside() == []


def test_an_activation_gives_way_to_a_set_that_came_meanwhile(room: Path) -> None:
    scene = Scene(f"{room}/s", terms=PATIENT)
    scene.write(f"{scene.root}/web.memory", b"GOOD and older")
    serving = scene.order().plan.served
    order = Order(Plan(Kind.ACTIVATE, ("web",), (), (), serving, serving), {})
    context = scene.context(web=replace(scene.service("web"), restart=("/bin/true",)))
    looks = 0

    def look(components: tuple[str, ...], now: float) -> LiveView:
        nonlocal looks
        looks += 1
        if looks == 2:
            copy(scene)
        return Scene.look(scene, components, now)

    with closing(context.journal):
        ending = transact(replace(context, live=replace(context.live, look=look)), order)
    assert ended(ending) == (Outcome.SUPERSEDED, Cause.CHANGED)
