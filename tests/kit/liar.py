"""A daemon that asks the actor for what it likes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.world import World
from config.load import load
from config.model import Config
from monitor.actor.context import actor_context
from monitor.actor.handlers import handle
from monitor.actor.request import Document, Request, Verb
from monitor.actor.sightings import Sightings
from monitor.actor.work import Work
from monitor.state.trust import read_trust_context
from tests.kit.actor import ALONE, PERSON, ActorHouse, Right, house
from tests.kit.authority import fresh

REPLACE = ActionRequest(Kind.REPLACE, ("web",))


class Shifted(World):
    """The world at another time."""

    shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift

    def monotonic(self) -> float:
        return super().monotonic() + self.shift


@dataclass
class Liar:
    """A daemon that asks for what it likes, and a person."""

    web: ActorHouse
    world: Shifted
    sightings: Sightings

    def ask(self, action: ActionRequest, right: Right = ALONE, verb: Verb = Verb.CARRY_OUT) -> Document:
        return self.ask_for(Request(verb, action), right)

    def ask_for(self, request: Request, right: Right = PERSON, world: World | None = None) -> Document:
        config = load(self.web.config_file, {})
        assert isinstance(config, Config), config
        world = world or self.world
        with actor_context(read_trust_context(config)[0]) as context:
            shifted = replace(context, world=world, transaction=replace(context.transaction, world=world))
            return handle(
                Work(shifted, "daemon", role=right.role, approval=right.approval, sightings=self.sightings), request
            )

    def replaced(self, **knobs: Any) -> ActionRequest:
        """Have a person replace the certificate, and return the action that undoes it."""
        self.web.put(fresh(**knobs))
        answer = self.ask(REPLACE, PERSON)
        assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
        return ActionRequest(Kind.ROLLBACK, ("web",), str(self.web.records()[-1]["transaction"]))


@contextmanager
def lying(component: Mapping[str, object], *policies: Mapping[str, object]) -> Iterator[Liar]:
    with house() as web:
        Path(web.config_file).write_text(json.dumps({**web.document(component), "policies": list(policies)}))
        yield Liar(web, Shifted(), Sightings())
