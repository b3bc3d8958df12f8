"""What a process with the daemon's uid gets done: well-formed requests, guided by what the actor answers."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from actions.candidate import Given
from actions.csr import CsrOrder
from actions.journal_state import ActionRequest
from actions.plan import Kind
from config.load import load
from config.model import Config
from config.text import Printable
from monitor.actor.authority import Peer
from monitor.actor.dispatch import Caller
from monitor.actor.handed import CandidateFiles
from monitor.actor.handlers import handle
from monitor.actor.pace import Pace
from monitor.actor.request import Document, Request, Verb
from monitor.actor.server import ActorProcess
from monitor.actor.work import Work
from monitor.lab.ca import bundle
from monitor.lab.servers import write_site
from tests.bench.report import Measurement
from tests.kit.authority import ISSUING, NAME, ROOT, fresh

REQUESTS: Final = 10_000
ROGUE: Final = Peer(65_534, Printable("rogue"))
_AUTO: Final = {"mode": "auto", "allowed_issuers": [{"trust_store": "corporate"}]}
_MODES: Final[Mapping[str, Mapping[str, object]]] = {
    "windowed": _AUTO,
    "later": _AUTO,
    "unseen": _AUTO,
    "asked": {"mode": "approve"},
    "watched": {"mode": "observe"},
}
_NEVER: Final = [{"cron": "0 0 29 2 *", "duration": "1m"}]
_POLICIES: Final[Sequence[Mapping[str, object]]] = [
    {"match": {"component": ["windowed"]}, "when": {"candidate_present": True}, "windows": _NEVER},
    {"match": {"component": ["later"]}, "when": {"remaining_below": "1d"}},
    {"match": {"component": ["unseen"]}, "when": {"not": {"finding": "daemon_unstable"}}},
]


class RogueHouse:
    """An actor, components to which nothing may be done without a person, and a person who replaces now and then."""

    def __init__(self, directory: str, *, free: bool = False) -> None:
        """`free`: one more component may be given its candidate without a person."""
        self.directory = directory
        self.asked = 0
        self.modes = {**_MODES, **({"allowed": _AUTO} if free else {})}
        Path(directory, "root.pem").write_bytes(ROOT.pem())
        components = {name: {**self._component(name), **mode} for name, mode in self.modes.items()}
        policies = [
            {"name": f"{number}-{step}", "mode": "auto", "do": [step], **each}
            for number, each in enumerate(_POLICIES)
            for step in ("replace", "activate", "rollback")
        ]
        document = {
            "actor": {
                "socket": f"{directory}/actor.sock",
                "directory": f"{directory}/actor",
                "inbox_directory": f"{directory}/inbox",
                "daemon_user": str(ROGUE.uid),
                "require_synchronised_clock": False,
            },
            "trust_stores": {"corporate": {"bundle": f"{directory}/root.pem"}},
            "components": components,
            "policies": policies,
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "5s"},
        }
        path = Path(directory, "certvigil.yaml")
        path.write_text(json.dumps(document))
        config = load(str(path), {})
        assert isinstance(config, Config), config
        # What is bounded by the hour would hide what is refused for a reason.
        self.actor = ActorProcess(str(path), config, Pace(most_records=10**9))
        self.actor.recover()

    def _component(self, name: str) -> dict[str, object]:
        site = write_site(f"{self.directory}/{name}", fresh())
        return {
            "artefacts": {"certificate": site.certificate, "key": site.key},
            "service": {"test": ["/bin/true"], "restart": ["/bin/true"]},
        }

    def ask(self, request: Request) -> Document:
        """Return what the actor answers to the rogue daemon."""
        self.asked += 1
        return self.actor.dispatcher.do(request, ROGUE, Caller())

    def put(self, name: str) -> None:
        """Put a candidate into an inbox."""
        new = fresh()
        for file, data in (("chain.pem", bundle([new, ISSUING])), ("new.key", new.key_pem())):
            path = f"{self.directory}/inbox/{name}/{file}"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
                opened.write(data)

    def person(self, name: str) -> None:
        """Have a person replace a certificate, so that there is something to undo."""
        self.put(name)
        with self.actor.current.context() as context:
            handle(
                Work(
                    context,
                    "a person",
                ),
                Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, (name,))),
            )

    def begun(self) -> list[Mapping[str, Any]]:
        """Return what was begun for the rogue."""
        with self.actor.current.context() as context:
            records = context.transaction.journal.records()
        # What a policy calls for is on behalf of the policy, and through whoever asked.
        began = [each.data for each in records if each.event == "begin"]
        return [each for each in began if ROGUE.name in {each.get("by"), each.get("through")}]

    def offer(self, name: str) -> Document:
        """Offer a certificate for the installed key, of an issuer that is allowed."""
        self.asked += 1
        key = load_pem_private_key(Path(self.directory, name, "site.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        again = ISSUING.issue(NAME, key=key)
        offered = CandidateFiles((Given("offer", bundle([again, ISSUING])),))
        request = Request(Verb.OFFER, components=(name,))
        return self.actor.dispatcher.do(request, ROGUE, Caller(), offered)


def play(house: RogueHouse, requests: int, seed: int) -> None:
    """Ask for so many things, chosen by chance and by the answers so far."""
    chance = random.Random(seed)
    names = sorted(house.modes)
    hashes, sets = ["0" * 64], [""]
    end = house.asked + requests
    while house.asked < end:
        if chance.random() < 0.1:
            chance.choice([house.put, house.person])(chance.choice(names))
        if chance.random() < 0.3:
            # As an honest daemon would: it differs only in that nothing calls for it.
            name, kind = chance.choice([*names, names[0]]), chance.choice([Kind.REPLACE, *Kind])
            if kind is Kind.REPLACE:
                house.put(name)
            action = ActionRequest(kind, (name,))
            found = _hash(house.ask(Request(Verb.PLAN, action)))
            hashes += found
            house.ask(Request(Verb.CARRY_OUT, action, found[0] if found else ""))
        if chance.random() < 0.1:
            name = chance.choice(names)
            house.offer(name)
            made = Request(Verb.CSR, components=(name,), csr=CsrOrder(("www.example.com",)))
            house.ask(chance.choice([made, Request(Verb.CANCEL, key="0" * 8), Request(Verb.REQUESTS)]))
        several = tuple(chance.sample(names, chance.choice([1, 1, 1, 1, 2])))
        kind = chance.choice(list(Kind))
        undone = chance.choice(sets[-8:]) if kind is Kind.ROLLBACK else ""
        action = ActionRequest(kind, several, undone, chance.choice([(), (), ("default",)]))
        verb = chance.choice([Verb.PLAN, Verb.PROPOSE, *[Verb.CARRY_OUT] * 4, Verb.APPROVE, Verb.REJECT, Verb.RECOVER])
        if verb is Verb.PLAN or chance.random() < 0.5:
            # What would be done is best known to whoever asks just before.
            hashes += _hash(house.ask(Request(Verb.PLAN, action)))
        plan = hashes[-1] if chance.random() < 0.6 else chance.choice(hashes)
        with_action = verb in {Verb.PLAN, Verb.PROPOSE, Verb.CARRY_OUT}
        hashes += _hash(house.ask(Request(verb, action if with_action else None, plan, () if with_action else several)))
        state = house.ask(Request(Verb.STATE))
        with suppress(KeyError):
            sets += [each["last"]["transaction"] for each in state["components"].values() if each["last"]]


def _hash(answer: Document) -> list[str]:
    return [str(answer["plan"]["hash"])] if "plan" in answer else []


def measure(directory: str) -> Iterator[Measurement]:
    """Measure how much is done for a rogue daemon that nobody but it wants."""
    home = os.path.join(directory, "rogue")
    os.makedirs(home, mode=0o755)
    house = RogueHouse(home)
    play(house, REQUESTS, random.SystemRandom().randrange(2**32))
    yield Measurement("unattended_actions_by_rogue_daemon", len(house.begun()), "", 0)
