"""What a service's user puts where certvigil tidies up costs that component's tidying, and nothing else."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from actions.ending import Cause, Outcome
from actions.journal import Event
from actions.journal_state import JournalState
from tests.kit.lease import leased
from tests.kit.scene import Scene, broken
from tests.kit.worlds import KILLED, StepWorld, in_a_process, kill


def left_over(room: Path, components: tuple[str, ...] = ("web", "mail")) -> Scene:
    """Return a scene with a transaction of each component, that was killed after its commit, before it was tidied."""
    trace = StepWorld()
    Scene(f"{room}/trace", components[:1]).replace(trace)
    clearing = next(each for each in trace.trace if each.name == "unlink")
    scene = Scene(f"{room}/s", components)
    for each in components:
        scene.components = (each,)
        at = clearing._replace(what=clearing.what.replace(components[0], each))
        assert in_a_process(partial(scene.replace, StepWorld(kill(at, "before")))) == KILLED
        assert scene.records()[-1].event is Event.COMMITTED
    scene.components = components
    assert len(JournalState.of(scene.records()).unfinished) == len(components)
    return scene


def name_beside(scene: Scene, component: str, what: str) -> str:
    (name,) = [each.transaction for each in scene.records() if _begins(each.event, each.data, component)]
    directory, file = os.path.split(scene.certificate(component))
    return f"{directory}/.{file}.{name}.{what}"


def _begins(event: Event, data: object, component: str) -> bool:
    return event is Event.BEGIN and isinstance(data, dict) and data["plan"]["components"] == [component]


@pytest.mark.parametrize("what", ["again", "new"])
@pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
def test_what_is_no_file_at_a_name_of_ours_is_left_and_noted_once(room: Path, what: str, kind: str) -> None:
    scene = left_over(room)
    strange = name_beside(scene, "web", what)
    if os.path.lexists(strange):
        os.unlink(strange)
    match kind:
        case "directory":
            os.mkdir(strange)
        case "pipe":
            os.mkfifo(strange)
        case _:
            os.symlink("/nowhere", strange)
    endings = scene.recover()
    assert [each.outcome for each in endings] == [Outcome.COMMITTED] * 2
    assert [strange in remark for each in endings for remark in each.remarks] == [True]
    assert not JournalState.of(scene.records()).unfinished
    closed = [each.data.get("left") for each in scene.records() if each.event is Event.CLOSED]
    assert [each for each in closed if each] == [[strange]]
    assert os.path.lexists(strange)
    assert scene.recover() == ()
    assert scene.replace().outcome is Outcome.COMMITTED


def test_a_lease_on_what_is_tidied_up_keeps_no_other_component_from_it_and_is_tried_again(room: Path) -> None:
    scene = left_over(room)
    held = name_beside(scene, "web", "old")
    with leased(held):
        first, second = scene.recover()
        assert (first.outcome, first.cause) == (Outcome.REFUSED, Cause.STORAGE)
        assert "web: " in first.sentence
        assert held in first.sentence
        assert "certvigil recover" in first.sentence
        assert second.outcome is Outcome.COMMITTED
        assert list(JournalState.of(scene.records()).unfinished) == [first.transaction]
        mail = scene.components = ("mail",)
        order = scene.order()
        assert scene.replace().outcome is Outcome.COMMITTED, mail
        assert broken(scene, order) == []
    scene.components = ("web", "mail")
    (again,) = scene.recover()
    assert again.outcome is Outcome.COMMITTED
    assert not JournalState.of(scene.records()).unfinished
