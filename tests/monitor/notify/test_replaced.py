"""A certificate that takes the place of another: what is wrong goes on, and however often that is, messages are few."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from config.channel import Notifications
from config.text import Printable, harmless, sentence
from config.vocabulary import Code
from monitor.notify.cause import CALM, FLAPS_WITHIN
from monitor.notify.delivery import DeliveryFate
from monitor.state.target import learn
from probes.certificate import Certificate
from probes.finding import Assessment, Finding, finding
from tests.kit.examples import examples
from tests.kit.outbox import OPS, Office, known
from tests.kit.store import make_certificate

START: Final = 1_800_000_000.0
EVERY: Final = 5.0
HOUR: Final = 3600.0
SELF_SIGNED, EXPIRED, WEAK, REJECTED = Code.SELF_SIGNED, Code.EXPIRED, Code.WEAK_KEY, Code.CLIENT_REJECTS

_NUMBERS: Final = count()

Faults = tuple[Code, ...]
"""The codes of the findings about one certificate."""


def fresh(name: str = "") -> Certificate:
    """Return a certificate that was never seen before."""
    return make_certificate(name or f"{next(_NUMBERS)}.example")


@dataclass
class Endpoints:
    """Endpoints that are looked at every five seconds, and a channel that is told; time passes only in here."""

    office: Office = field(default_factory=Office)
    now: float = START
    said: list[str] = field(default_factory=list)
    alone: bool = True
    """Whether no chain had a second certificate, which may be a problem of its own, and be resolved."""

    def look(self, *faults: Faults, target: str = "evil", chain: tuple[Certificate, ...] = ()) -> None:
        """Have a target present a chain with these faults by position, of new certificates where none are given."""
        chain = chain or tuple(fresh() for _ in faults) or (fresh(),)
        self.alone = self.alone and len(chain) == 1
        found = tuple(_finding(code, position) for position, codes in enumerate(faults) for code in codes)
        before = self.office.registry.get(target) or known(target, presented=())
        after, _ = learn(before, chain, Assessment(found), None, now=self.now)
        self.office.believe(after)

    def codes(self, target: str = "evil") -> set[str]:
        """Return what is wrong with a target."""
        return {str(code) for code, _ in self.office.registry[target].findings}

    def wait(self, seconds: float = EVERY) -> list[str]:
        """Let time pass; return the titles of what is told meanwhile."""
        begun, end = len(self.said), self.now + seconds
        self._review()
        while (due := self.office.outbox.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self._review()
        self.now = end
        return self.said[begun:]

    def restart(self) -> None:
        """Begin anew with what was kept."""
        kept = self.office.outbox.everything()
        self.office = Office(registry=self.office.registry)
        self.office.outbox.restore(kept)
        self.office.outbox.reconfigure({"ops": OPS}, Notifications())

    @property
    def text(self) -> str:
        """The text of the newest message."""
        return self.office.deliveries[-1].message.text

    def _review(self) -> None:
        written = self.office.at(self.now)
        self.said += written
        for delivery in self.office.outbox.pending():
            self.office.outbox.amend(replace(delivery, fate=DeliveryFate.DELIVERED, ended_at=self.now))
        for title in written:
            if self.alone and (resolved := re.search(r"\[resolved\] (?:flapping: \w+, )?(\w+)", title)) is not None:
                assert resolved[1] not in self.codes(), title


def _finding(code: Code, position: int) -> Finding:
    return finding(
        code,
        sentence("{} at {}", code, position),
        harmless(Printable("browser") if code is REJECTED else f"position {position}"),
    )


def test_a_peer_with_a_new_certificate_at_each_handshake_is_told_once_and_since_when() -> None:
    world = Endpoints()
    for _ in range(12):
        world.look((SELF_SIGNED, REJECTED))
        world.wait()
    assert len(world.said) == 1
    for _ in range(int(HOUR / EVERY)):
        world.look((SELF_SIGNED, REJECTED))
        world.wait()
    world.wait(23.5 * HOUR)
    assert [re.sub("CN=.* on", "on", each) for each in world.said] == [
        "ops: [critical] self_signed: on evil",
        "ops: [critical, still] self_signed: on evil",
    ]
    assert "Since 2027-01-15 08:00:00Z." in world.text
    world.look(())
    (resolved,) = world.wait(60.0)
    assert resolved.startswith("ops: [resolved] self_signed: ")
    assert "The problem lasted from 2027-01-15 08:00:00Z until" in world.text
    assert world.office.outbox.alerts() == []


def test_a_peer_that_is_well_in_between_is_flapping_whichever_certificate_it_presents() -> None:
    world = Endpoints()
    for _ in range(200):
        world.look((SELF_SIGNED,))
        world.wait(45.0)
        world.look(())
        world.wait(45.0)
    assert "flapping: evil, self_signed 3 times" in world.said[-1]
    assert len(world.said) == 5
    (resolved,) = world.wait(CALM + 60.0)
    assert resolved.startswith("ops: [resolved] flapping: evil")


def test_a_renewal_that_cures_one_fault_and_has_another_is_a_problem_of_its_own() -> None:
    world = Endpoints()
    world.look((EXPIRED, WEAK, REJECTED), chain=(fresh("old.example"),))
    assert world.wait(60.0) == ["ops: [critical] expired: CN=old.example on evil"]
    world.look((SELF_SIGNED, REJECTED), chain=(fresh("new.example"),))
    assert world.wait(60.0) == [
        "ops: [critical] self_signed: CN=new.example on evil",
        "ops: [resolved] expired: CN=old.example on evil",
    ]


def test_a_renewal_that_cures_the_worst_of_two_faults_says_so() -> None:
    world = Endpoints()
    world.look((EXPIRED, WEAK), chain=(fresh("old.example"),))
    world.wait(60.0)
    world.look((WEAK,), chain=(fresh("new.example"),))
    raised, resolved = world.wait(60.0)
    assert "weak_key: CN=new.example on evil" in raised
    assert resolved == "ops: [resolved] expired: CN=old.example on evil"
    world.look((EXPIRED, WEAK))
    (again,) = world.wait(600.0)
    assert again.startswith("ops: [critical] expired: "), "the weak key is told, and no message may say that it is not"


def test_a_fault_that_comes_with_a_new_certificate_is_told_in_the_problem_that_goes_on() -> None:
    world = Endpoints()
    world.look((SELF_SIGNED,))
    world.wait(60.0)
    world.look((SELF_SIGNED, EXPIRED))
    (worse,) = world.wait(600.0)
    assert worse.startswith("ops: [critical, worse than before] expired")


def test_forty_endpoints_that_go_from_one_bad_certificate_to_another_are_one_problem() -> None:
    world = Endpoints()
    first, second = (fresh("first.example"),), (fresh("second.example"),)
    for number in range(40):
        world.look((EXPIRED,), target=f"web{number}", chain=first)
    world.look((EXPIRED,), target="evil", chain=first)
    assert world.wait(60.0) == ["ops: [critical] expired: CN=first.example on 41 targets"]
    for number in range(40):
        world.look((EXPIRED,), target=f"web{number}", chain=second)
        world.wait(2.0)
    world.look((EXPIRED,), target="evil", chain=second)
    assert world.wait(60.0) == []
    for number in range(40):
        world.look((), target=f"web{number}")
    world.look(())
    assert world.wait(60.0) == ["ops: [resolved] expired: CN=first.example on 41 targets"]


def test_of_a_chain_each_certificate_takes_the_place_of_the_one_at_its_position() -> None:
    world = Endpoints()
    issuer = fresh("ca.example")
    world.look((EXPIRED,), (EXPIRED,), chain=(fresh(), issuer))
    world.look((EXPIRED,), (EXPIRED,), target="other", chain=(fresh("other.example"), issuer))
    assert len(world.wait(60.0)) == 3
    for _ in range(20):
        world.look((EXPIRED,), (EXPIRED,), chain=(fresh(), issuer))
        assert world.wait() == []
    world.look((EXPIRED,), (), chain=(fresh(), fresh("new-ca.example")))
    world.look((EXPIRED,), (), target="other", chain=(fresh(), fresh("new-ca.example")))
    assert world.wait(60.0) == ["ops: [resolved] expired: CN=ca.example on 2 targets"]


def test_after_a_restart_the_problem_goes_on_with_the_next_certificate() -> None:
    world = Endpoints()
    for _ in range(20):
        world.look((SELF_SIGNED, REJECTED))
        world.wait()
        world.restart()
    assert len(world.said) == 1
    world.look(())
    assert len(world.wait(60.0)) == 1


CODES = st.sampled_from([SELF_SIGNED, EXPIRED, Code.EXPIRING, WEAK, REJECTED])
FAULTS = st.lists(CODES, unique=True, max_size=4).map(tuple)
TURNS = st.lists(
    st.tuples(st.lists(FAULTS, min_size=1, max_size=3), st.sampled_from([1, 1, 3, 8, 20])), min_size=1, max_size=8
)


# To shrink what fails takes minutes.
@settings(max_examples=examples(15), deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(TURNS, st.booleans())
# The weak key stands all the time, in the one problem and in the other.
@example([([(SELF_SIGNED, WEAK)], 40), ([(EXPIRED, WEAK)], 40)], True)
def test_however_a_peer_changes_its_certificates_messages_are_bounded(
    turns: list[tuple[list[Faults], int]], alone: bool
) -> None:
    """Of all sequences of faults, again and again, each time with new certificates."""
    world = Endpoints()
    while world.now < START + 2 * HOUR:
        for faults, times in turns:
            for _ in range(times):
                world.look(*(faults[:1] if alone else faults))
                world.wait()
    assert len(world.said) <= 40, "without a bound it were one for each of 1440 looks"
    world.look(())
    world.wait(CALM + FLAPS_WITHIN)
    assert world.office.outbox.alerts() == []
