"""The order of a root rotation, from facts alone: what is done, what is next, and what waits for what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actions.journal_state import Confirmation
from config.text import Printable
from config.vocabulary import RotationDeed, StepProgress
from monitor.rotation import (
    ClientFacts,
    Keeper,
    Root,
    RotationFacts,
    ServerFacts,
    Step,
    StoreFacts,
    done,
    steps,
)

NEW, OLD = Root("aa" * 32, Printable("CN=New")), Root("bb" * 32, Printable("CN=Old"))
AT_FIRST, BOTH, AT_LAST = frozenset({OLD.sha256}), frozenset({OLD.sha256, NEW.sha256}), frozenset({NEW.sha256})
ENGINE = Printable("engine/1671")
FILES = Printable("the files of engine")


def store(holds: frozenset[str] | None = AT_FIRST, name: str = "jdk", keeper: Keeper = Keeper.CERTVIGIL) -> StoreFacts:
    return StoreFacts(name, keeper, holds, Printable("no such file") if holds is None else Printable(""))


def servers(installed: frozenset[str] | None, served: frozenset[str] | None) -> tuple[ServerFacts, ...]:
    """Return the Engine, with a chain on disk and a chain that it serves."""
    return (
        ServerFacts(FILES, "engine", installed, ("portal",), is_installed=True),
        ServerFacts(ENGINE, "engine", served, ("portal",)),
    )


AT_START = RotationFacts(
    NEW, (OLD,), (store(),), (ClientFacts("portal", "jdk"),), servers(AT_FIRST, AT_FIRST), confirmations={}
)


def shown(of: tuple[Step, ...]) -> list[str]:
    return [f"{each.deed} {each.about}: {each.progress}" + (f", {each.reason}" if each.reason else "") for each in of]


HAS = "add jdk: done, it has the root"
FIRST_IT = "remove jdk: waiting, first the switch of engine"
IS_LEFT = "switch engine: next, another certificate: the files of engine and engine/1671"
IS_SWITCHED = "switch engine: done, its certificates lead to the root"

TABLE = {
    "at the start": (AT_START, ["add jdk: next", "switch engine: waiting, first the root for jdk", FIRST_IT]),
    "the store has both": (replace(AT_START, stores=(store(BOTH),)), [HAS, IS_LEFT, FIRST_IT]),
    "installed, and not served": (
        replace(AT_START, stores=(store(BOTH),), servers=servers(AT_LAST, AT_FIRST)),
        [HAS, "switch engine: next, another certificate: engine/1671", FIRST_IT],
    ),
    "served, and undone on disk": (
        replace(AT_START, stores=(store(BOTH),), servers=servers(AT_FIRST, AT_LAST)),
        [HAS, "switch engine: next, another certificate: the files of engine", FIRST_IT],
    ),
    "installed, and the server is away": (
        replace(AT_START, stores=(store(BOTH),), servers=servers(AT_LAST, None)),
        [HAS, "switch engine: waiting, not known: engine/1671", FIRST_IT],
    ),
    "switched": (
        replace(AT_START, stores=(store(BOTH),), servers=servers(AT_LAST, AT_LAST)),
        [HAS, IS_SWITCHED, "remove jdk: next"],
    ),
    "over": (
        replace(AT_START, stores=(store(AT_LAST),), servers=servers(AT_LAST, AT_LAST)),
        [HAS, IS_SWITCHED, "remove jdk: done, it does not have the root"],
    ),
    "switched too early": (
        replace(AT_START, servers=servers(AT_LAST, AT_LAST)),
        ["add jdk: next", IS_SWITCHED, "remove jdk: waiting, first the new root"],
    ),
    "another server still needs the old root": (
        replace(
            AT_START,
            stores=(store(BOTH),),
            servers=(
                *servers(AT_LAST, AT_LAST),
                ServerFacts(Printable("ldap:636"), "", AT_FIRST, ("portal",)),
            ),
        ),
        [HAS, IS_SWITCHED, "remove jdk: waiting, needed by portal at ldap:636"],
    ),
    "another server leads to both": (
        replace(
            AT_START,
            stores=(store(BOTH),),
            servers=(*servers(AT_LAST, AT_LAST), ServerFacts(Printable("ldap:636"), "", BOTH, ("portal",))),
        ),
        [HAS, IS_SWITCHED, "remove jdk: next"],
    ),
    "another server is away": (
        replace(
            AT_START,
            stores=(store(BOTH),),
            servers=(*servers(AT_LAST, AT_LAST), ServerFacts(Printable("ldap:636"), "", None, ("portal",))),
        ),
        [HAS, IS_SWITCHED, "remove jdk: waiting, not known: ldap:636"],
    ),
    "the store cannot be read": (
        replace(AT_START, stores=(store(None),)),
        [
            "add jdk: waiting, it cannot be read: no such file",
            "switch engine: waiting, first the root for jdk",
            "remove jdk: waiting, it cannot be read: no such file",
        ],
    ),
    "the client does not validate": (
        replace(AT_START, clients=(ClientFacts("portal", "jdk", validates=False),)),
        ["add jdk: next, it holds up no switch: portal does not validate", IS_LEFT, FIRST_IT],
    ),
    "a store of nobody's here has the old root": (
        replace(AT_START, stores=(store(BOTH), store(name="ldap"), store(frozenset(), "other"))),
        [HAS, "add ldap: next", IS_LEFT, FIRST_IT, "remove ldap: waiting, first the switch of engine"],
    ),
    "a CA of one's own is introduced": (
        replace(AT_START, old=(), stores=(store(frozenset()),), servers=servers(frozenset(), frozenset())),
        ["add jdk: next", "switch engine: waiting, first the root for jdk"],
    ),
    "a component of a public CA is left alone": (
        replace(AT_START, old=(), servers=(ServerFacts(ENGINE, "engine", frozenset(), ("portal",), is_public=True),)),
        [],
    ),
    "a component of another root is left alone": (
        replace(AT_START, servers=servers(frozenset(), frozenset())),
        ["add jdk: next", "remove jdk: waiting, first the new root"],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_steps_follow_from_the_facts(case: str) -> None:
    facts, expected = TABLE[case]
    assert shown(steps(facts)) == expected


class TestAStoreOfOtherMachines:
    FACTS = replace(
        AT_START, stores=(StoreFacts("windows", Keeper.PERSON),), clients=(ClientFacts("portal", "windows"),)
    )
    SWITCHED = replace(FACTS, servers=servers(AT_LAST, AT_LAST))
    SEEN = Confirmation(has=True, by="anna", at=1_800_000_000.0)
    SAW = "anna saw at 2027-01-15 08:00:00Z that it"

    def test_holds_up_the_switch_until_a_person_saw_the_root_there(self) -> None:
        assert shown(steps(self.FACTS))[:2] == [
            "add windows: next",
            "switch engine: waiting, first the root for windows",
        ]
        confirmed = replace(self.FACTS, confirmations={("windows", NEW.sha256): self.SEEN})
        assert shown(steps(confirmed))[:2] == [f"add windows: done, {self.SAW} has it", IS_LEFT]

    def test_is_confirmed_for_one_root_and_one_store(self) -> None:
        others = {("windows", OLD.sha256): self.SEEN, ("macos", NEW.sha256): self.SEEN}
        assert steps(replace(self.FACTS, confirmations=others))[0].progress is StepProgress.NEXT

    def test_loses_the_old_root_by_the_word_of_a_person(self) -> None:
        has = {("windows", NEW.sha256): self.SEEN}
        assert shown(steps(replace(self.SWITCHED, confirmations=has)))[2] == "remove windows: next"
        gone = {**has, ("windows", OLD.sha256): replace(self.SEEN, has=False)}
        said = shown(steps(replace(self.SWITCHED, confirmations=gone)))
        assert said[2] == f"remove windows: done, {self.SAW} does not have it"

    def test_counts_as_without_the_root_once_a_person_saw_that(self) -> None:
        gone = {("windows", NEW.sha256): replace(self.SEEN, has=False)}
        first, second, _ = steps(replace(self.FACTS, confirmations=gone))
        assert (first.progress, first.reason) == (StepProgress.NEXT, f"{self.SAW} does not have it")
        assert second.progress is StepProgress.WAITING


def test_each_old_root_goes_for_itself() -> None:
    older = Root("cc" * 32, Printable("CN=Older"))
    holds = frozenset({NEW.sha256, OLD.sha256, older.sha256})
    facts = replace(AT_START, old=(OLD, older), stores=(store(holds),), servers=servers(AT_LAST, AT_LAST))
    removals = [each for each in steps(facts) if each.deed is RotationDeed.REMOVE]
    assert [(each.root, each.progress) for each in removals] == [(OLD, StepProgress.NEXT), (older, StepProgress.NEXT)]
    assert done(steps(facts)) == 2


def test_a_service_that_did_not_load_its_files_is_told_to() -> None:
    facts = replace(AT_START, stores=(store(BOTH),), servers=servers(AT_LAST, AT_FIRST))
    assert [each.activates for each in steps(facts)] == [False, True, False]
