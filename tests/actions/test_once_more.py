"""No service takes up files that nobody has looked at since, and one that answers nobody is started once, if at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions.ending import Cause, Ending, Outcome, answers_again, answers_nobody
from actions.journal import Event
from actions.journal_state import frozen
from actions.plan import Kind, Order, Plan, plan_from_json, plan_to_json
from actions.recover import recover
from actions.service import may_start
from actions.transaction import transact
from actions.validate import Live, Worth
from actions.verdict import Old
from actions.world import World
from config.service import Activation, Command, Service, systemd
from tests.kit.scene import Scene, sha
from tests.kit.worlds import KILLED, Fault, Step, StepWorld, in_a_process

THEIRS = "GOOD by somebody else"


def shell(script: str) -> Command:
    return ("/bin/sh", "-c", script)


def counted(scene: Scene, name: str) -> str:
    """Return the beginning of a script that is noted each time it runs."""
    return f"echo {name} >>{scene.root}/ran; "


def ran(scene: Scene) -> list[str]:
    try:
        return Path(f"{scene.root}/ran").read_text().split()
    except FileNotFoundError:
        return []


def up(scene: Scene) -> str:
    return f"cp {scene.certificate('web')} {scene.root}/web.memory"


def dying_at(name: str, which: int) -> Fault:
    """End this process after the n-th step of a name."""
    seen = [-1]

    def fault(step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        done = act()
        seen[0] += step.name == name
        if step.name == name and seen[0] == which:
            os._exit(KILLED)
        return done

    return fault


def intruder(scene: Scene, when: str) -> str:
    """Return a script that writes over the key, once, where the certificate is the one it is `when`."""
    return (
        f"if grep -q {when} {scene.certificate('web')} && ! test -e {scene.root}/wrote; then "
        f"printf '{THEIRS}' >{scene.key('web')}; touch {scene.root}/wrote; fi; "
    )


def carried_out(scene: Scene, service: Service, order: Order | None = None, live: Live | None = None) -> Ending:
    context = scene.context(web=service)
    context = replace(context, live=live or context.live)
    with closing(context.journal):
        return transact(context, order or scene.order())


# Once more before each command that activates


@pytest.mark.parametrize("way", ["restart", "reload", "start"])
def test_a_write_between_test_and_activation_keeps_the_service_from_it(way: str, room: Path) -> None:
    scene = Scene(f"{room}/s")
    take_up = shell(counted(scene, way) + up(scene))
    service = Service(
        restart=take_up,
        test=shell(intruder(scene, "new")),
        reload=take_up,
        stop=("/bin/true",),
        start=take_up,
        activate=Activation.RELOAD if way == "reload" else Activation.RESTART,
        quiesce=way == "start",
    )
    ending = carried_out(scene, service)
    assert (ending.outcome, ending.cause) == (Outcome.FROZEN, Cause.CHANGED)
    assert f"{scene.key('web')} was changed by someone else" in ending.sentence
    assert ran(scene) == [], "nothing was put onto half a pair"
    assert scene.memory("web") == b"GOOD old certificate\n" * 9
    assert scene.read(scene.key("web")) == THEIRS.encode()


def test_a_write_before_the_service_of_the_second_component_keeps_that_one_from_it(room: Path) -> None:
    scene = Scene(f"{room}/s", ("mail", "web"))
    both = scene.service("mail")
    mail = replace(both, restart=shell(f"{' '.join(both.restart)}; {intruder(scene, 'new')}"))
    web = Service(restart=shell(counted(scene, "web") + up(scene)))
    context = scene.context(mail=mail, web=web)
    with closing(context.journal):
        ending = transact(context, scene.order())
    assert (ending.outcome, ending.cause) == (Outcome.FROZEN, Cause.CHANGED)
    assert ran(scene) == []


def test_a_write_amid_the_undo_keeps_the_service_from_half_a_pair(room: Path) -> None:
    scene = Scene(f"{room}/s")
    restart = shell(counted(scene, "restart") + f"grep -q old {scene.certificate('web')} && {up(scene)}")
    service = Service(restart=restart, reset=shell(intruder(scene, "old")))
    ending = carried_out(scene, service)
    assert ending.outcome is Outcome.FROZEN
    assert "not run: " in ending.sentence
    assert f"{scene.key('web')} was changed by someone else" in ending.sentence
    assert ran(scene) == ["restart"], "the one that failed with the new files"


def test_a_write_before_an_activation_of_what_is_on_disk_keeps_the_service_from_it(room: Path) -> None:
    scene = Scene(f"{room}/s")
    scene.write(f"{scene.root}/web.memory", b"GOOD and older")
    serving = scene.order().plan.served
    stands = tuple(("web", path, sha(scene.read(path))) for path in (scene.key("web"), scene.certificate("web")))
    plan = Plan(Kind.ACTIVATE, ("web",), (), (), serving, serving, stands)
    assert plan_from_json(plan_to_json(plan)) == plan
    # The first test is the one before anything is done.
    test = shell(f"if test -e {scene.root}/first; then {intruder(scene, 'old')} fi; touch {scene.root}/first")
    service = Service(restart=shell(counted(scene, "restart") + up(scene)), test=test)
    ending = carried_out(scene, service, Order(plan, {}))
    assert ending.cause is Cause.CHANGED
    assert ran(scene) == []
    assert scene.memory("web") == b"GOOD and older"


# A service that answers nobody


def dying(scene: Scene, **more: Command | None) -> Service:
    """Return a service that each restart leaves dead and that can be started all the same."""
    return Service(
        restart=shell(f"rm -f {scene.root}/web.memory; exit 1"),
        start=shell(counted(scene, "start") + up(scene)),
        **more,  # type: ignore[arg-type]
    )


def test_a_dead_service_is_started_once_onto_a_set_that_is_recorded_and_that_is_said(room: Path) -> None:
    scene = Scene(f"{room}/s")
    ending = carried_out(scene, dying(scene))
    assert ending.outcome is Outcome.FROZEN
    assert (
        "after that, web answered nobody, until it was started once, onto the old set: it answers again"
        in ending.sentence
    )
    assert answers_again(ending.reason)
    assert not answers_nobody(ending.reason)
    assert scene.memory("web") == b"GOOD old certificate\n" * 9
    assert ran(scene) == ["start"]
    assert "started once, onto the old set" in frozen(scene.records())["web"]
    started = [each for each in scene.records() if each.event is Event.STARTED]
    assert [(tuple(each.data["components"]), each.data["onto"]) for each in started] == [(("web",), "the old set")]
    assert scene.recover() == ()
    assert ran(scene) == ["start"]


def test_a_start_that_does_not_help_is_said(room: Path) -> None:
    scene = Scene(f"{room}/s")
    service = replace(dying(scene), start=shell(counted(scene, "start")))
    ending = carried_out(scene, service)
    assert "started once, onto the old set, and still answers nobody. FROZEN" in ending.sentence
    assert ran(scene) == ["start"]


def theirs(scene: Scene, against: str | None) -> Live:
    """Return looks by which the set on disk is refused as a candidate for that reason; None where nobody can tell."""
    return Live(scene.look, scene.judge, fit=None if against is None else lambda _name, _now: against)


def stopped(scene: Scene) -> Service:
    """Return a service that is stopped for the switch, and whose key somebody writes over before it is started."""
    return Service(
        restart=shell(counted(scene, "restart") + up(scene)),
        test=shell(intruder(scene, "new")),
        stop=("/bin/rm", "-f", f"{scene.root}/web.memory"),
        start=shell(counted(scene, "start") + up(scene)),
        quiesce=True,
    )


def test_what_we_stopped_is_started_onto_somebody_elses_set_that_passes_the_whole_precheck(room: Path) -> None:
    scene = Scene(f"{room}/s")
    ending = carried_out(scene, stopped(scene), live=theirs(scene, ""))
    assert ending.outcome is Outcome.FROZEN
    assert "onto the set that somebody else put on disk, which passes every check" in ending.sentence
    assert ran(scene) == ["start"]
    assert scene.memory("web")


@pytest.mark.parametrize("against", ["the private key does not belong to it", None])
def test_nothing_is_started_onto_a_set_that_is_neither_recorded_nor_passes(against: str | None, room: Path) -> None:
    scene = Scene(f"{room}/s")
    ending = carried_out(scene, stopped(scene), live=theirs(scene, against))
    assert ending.outcome is Outcome.FROZEN
    assert "was not started: the files on disk are of no set that is recorded" in ending.sentence
    assert (against or "") in ending.sentence
    assert ran(scene) == []


def test_what_failed_is_started_by_a_later_recovery_once_somebodys_set_is_whole(room: Path) -> None:
    scene = Scene(f"{room}/s")
    failed = replace(stopped(scene), state=state(LoadState="loaded", ActiveState="failed"))
    assert carried_out(scene, failed, live=theirs(scene, "half a pair")).outcome is Outcome.FROZEN

    def recovered(against: str) -> tuple[Ending, ...]:
        context = replace(scene.context(web=failed), live=theirs(scene, against))
        with closing(context.journal):
            return recover(context)

    assert recovered("half a pair") == ()
    assert ran(scene) == []
    (ending,) = recovered("")
    assert ending.outcome is Outcome.FROZEN
    assert "started once, onto the set that somebody else put on disk" in ending.sentence
    assert "it answers again" in frozen(scene.records())["web"]
    assert recovered("") == ()
    assert ran(scene) == ["start"]


def test_a_set_that_somebody_is_about_to_complete_is_waited_for(room: Path) -> None:
    scene = Scene(f"{room}/s")
    answers = iter(["half a pair", "half a pair", ""])
    live = Live(scene.look, scene.judge, fit=lambda _name, _now: next(answers))
    ending = carried_out(scene, stopped(scene), live=live)
    assert "it answers again" in ending.sentence
    assert ran(scene) == ["start"]


def test_nothing_is_started_onto_an_old_set_that_may_not_come_back(room: Path) -> None:
    scene = Scene(f"{room}/s")

    def worth(_components: tuple[str, ...], files: Mapping[str, bytes], _now: float) -> Worth:
        return Worth(Old.BARRED, "its key was given up") if b"old key" in b"".join(files.values()) else Worth()

    ending = carried_out(scene, dying(scene), live=Live(scene.look, scene.judge, worth=worth))
    assert ending.outcome is Outcome.FROZEN
    assert "started once, onto the new set: it answers again" in ending.sentence
    assert scene.memory("web") == b"GOOD new certificate\n" * 7


def test_what_did_not_run_when_the_transaction_began_is_not_started(room: Path) -> None:
    scene = Scene(f"{room}/s")
    os.unlink(f"{scene.root}/web.memory")
    service = Service(restart=("/bin/false",), start=shell(counted(scene, "start")), test=shell(intruder(scene, "new")))
    ending = carried_out(scene, service)
    assert ending.outcome is Outcome.FROZEN
    assert ran(scene) == []


def state(**shown: str) -> Command:
    return ("/usr/bin/printf", "%s\\n", *(f"{name}={value}" for name, value in shown.items()))


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ({"LoadState": "masked", "UnitFileState": "masked", "ActiveState": "failed"}, "its unit is masked"),
        ({"UnitFileState": "masked-runtime", "ActiveState": "inactive"}, "its unit is masked-runtime"),
        ({"UnitFileState": "disabled", "ActiveState": "failed"}, "its unit is disabled"),
        ({"UnitFileState": "enabled", "ActiveState": "inactive"}, "somebody stopped it"),
        ({"UnitFileState": "enabled", "ActiveState": "active"}, "its unit is active"),
    ],
)
def test_what_a_person_stopped_disabled_or_masked_is_not_started(
    shown: Mapping[str, str], why: str, room: Path
) -> None:
    scene = Scene(f"{room}/s")
    ending = carried_out(scene, dying(scene, state=state(**shown)))
    assert f"web answers nobody, and was not started: {why}. FROZEN" in ending.sentence
    assert ran(scene) == []


def test_what_failed_is_started(room: Path) -> None:
    scene = Scene(f"{room}/s")
    ending = carried_out(scene, dying(scene, state=state(LoadState="loaded", ActiveState="failed")))
    assert "it answers again" in ending.sentence
    assert ran(scene) == ["start"]


def test_what_we_stopped_may_be_started_and_of_no_supervisor_nothing_is_known() -> None:
    inactive = Service(restart=("/bin/true",), state=state(LoadState="loaded", ActiveState="inactive"))
    assert may_start(World(), inactive, stopped=True, activated=False) == ""
    assert may_start(World(), inactive, stopped=False, activated=True) == "somebody stopped it"
    bare = Service(restart=("/bin/true",))
    assert may_start(World(), bare, stopped=False, activated=True) == ""
    assert may_start(World(), bare, stopped=False, activated=False) == "who stopped it is not known"


def test_a_unit_is_asked_how_it_stands() -> None:
    service = systemd("web.service")
    assert service.state is not None
    assert service.state[1:3] == ("show", "-p")
    assert {"LoadState", "UnitFileState", "ActiveState"} <= set(service.state[3].split(","))


def test_services_are_left_alone_at_boot_also_where_they_answer_nobody(room: Path) -> None:
    scene = Scene(f"{room}/s")
    context = scene.context(StepWorld(dying_at("exchange", 1)), web=dying(scene))
    assert in_a_process(lambda: transact(context, scene.order())) == KILLED
    scene.write(scene.key("web"), THEIRS.encode())
    os.unlink(f"{scene.root}/web.memory")
    context = scene.context(web=dying(scene))
    with closing(context.journal):
        (ending,) = recover(context, services_run=False)
    assert ending.outcome is Outcome.FROZEN
    assert ran(scene) == []
    assert "answers nobody" not in ending.sentence
