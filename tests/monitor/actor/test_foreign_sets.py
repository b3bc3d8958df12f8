"""Whoever may write into a folder of another program's backup sets chooses nothing that is carried out unattended."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from actions import backup_folder
from actions.backup_folder import is_date, newest_sets
from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.world import World
from config.load import load
from config.model import Config
from monitor.actor.request import Document, Request, Verb
from monitor.lab.ca import DAY, Authority, Issued, bundle, self_signed
from monitor.lab.servers import replace_file
from tests.kit.actor import ALONE, APPROVED, ISSUER, PERSON, ActorHouse, Right
from tests.kit.authority import NAME, fresh
from tests.kit.liar import Liar, lying
from tests.kit.openssl_client import presented

pytestmark = pytest.mark.server("nginx")

DATE: Final = "20200101"
BY_DATE: Final = ActionRequest(Kind.ROLLBACK, ("web",), DATE)
DEFAULT: Final = ActionRequest(Kind.ROLLBACK, ("web",), "default")
UNDO: Final = {"name": "undo", "when": {"regressed_within": "3h"}, "mode": "auto", "do": ["rollback"]}


def folder_of(web: ActorHouse) -> str:
    return f"{web.directory}/theirs"


def configured(liar: Liar, *policies: object, **component: object) -> None:
    """Give the component a folder of another program."""
    names = {"certificate": "*-web.crt", "key": "*-web.key"}
    component |= {"backup_folder": {"directory": folder_of(liar.web), "names": names}}
    document = {**liar.web.document(component), "policies": list(policies)}
    replace_file(liar.web.config_file, json.dumps(document).encode())


@pytest.fixture
def liar() -> Iterator[Liar]:
    with lying({}) as made:
        configured(made)
        yield made


def keep(web: ActorHouse, name: str, issued: Issued, key: Issued | None = None) -> None:
    """Write a set into the folder, as whoever may write there."""
    os.makedirs(folder_of(web), exist_ok=True)
    replace_file(f"{folder_of(web)}/{name}-web.crt", issued.chain_pem())
    replace_file(f"{folder_of(web)}/{name}-web.key", (key or issued).key_pem(), 0o600)


def sets(liar: Liar) -> Document:
    return liar.ask_for(Request(Verb.BACKUPS, components=("web",)))


def done(answer: Document) -> str:
    """Return what is said of a plan that was carried out."""
    assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
    return " ".join(answer["remarks"])


def refused(liar: Liar, action: ActionRequest, right: Right = PERSON, verb: Verb = Verb.CARRY_OUT) -> str:
    """Return why it is not done."""
    before = liar.web.on_disk()
    answer = liar.ask(action, right, verb)
    assert "plan" not in answer, answer
    assert "endings" not in answer, answer
    assert liar.web.on_disk() == before
    return str(answer.get("cannot") or " ".join(each["detail"] for each in answer["refused"]["objections"]))


def test_an_unattended_rollback_gives_certvigil_s_own_set_where_the_folder_has_files_of_its_name(liar: Liar) -> None:
    configured(liar, UNDO, mode="approve")
    undo = liar.replaced(not_before=time.time() - 60, not_after=time.time() + 70 * 60)
    keep(liar.web, undo.backup_set, fresh())
    liar.world.shift = 71 * 60.0
    assert "ask again after" in refused(liar, undo, ALONE)
    liar.world.shift += 61
    assert "another program" not in done(liar.ask(undo, ALONE))
    assert presented(liar.web.server)[0] == liar.web.old.der()


def test_a_person_who_names_a_transaction_is_given_certvigil_s_own_set_too(liar: Liar) -> None:
    undo = liar.replaced()
    keep(liar.web, undo.backup_set, fresh())
    keep(liar.web, "default", fresh())
    assert [each["folder"] for each in sets(liar)["sets"]] == [""]
    done(liar.ask(undo, PERSON))
    assert presented(liar.web.server)[0] == liar.web.old.der()


@pytest.mark.parametrize("name", ["20261123t221624-0a1b2c3d", "20261123T221624-0a1b2c3d", "default", "late", "1", ""])
def test_only_a_date_is_the_name_of_a_set_in_a_folder(name: str) -> None:
    assert not is_date(name)


@pytest.mark.parametrize("name", ["20240115", "2024-01-15", "20240115-0930", "20240115_093001", "2024.01.15T09.30.01"])
def test_dates_are_read_in_the_ways_in_which_they_are_written(name: str) -> None:
    assert is_date(name)


@pytest.mark.parametrize("verb", [Verb.PLAN, Verb.PROPOSE, Verb.CARRY_OUT])
@pytest.mark.parametrize("right", [ALONE, APPROVED], ids=["alone", "approved"])
def test_nothing_unattended_names_a_set_of_a_folder(right: Right, verb: Verb, liar: Liar) -> None:
    keep(liar.web, DATE, fresh())
    liar.replaced()
    assert "only an operator's own command" in refused(liar, BY_DATE, right, verb)


@pytest.mark.parametrize("right", [ALONE, PERSON], ids=["daemon", "person"])
def test_the_default_that_waits_for_approval_is_certvigil_s_own(right: Right, liar: Liar) -> None:
    """An operator's own command would take the set of the folder."""
    keep(liar.web, DATE, fresh())
    liar.replaced()
    assert "refused" not in liar.ask(BY_DATE, PERSON, Verb.PLAN)
    assert "only an operator's own command" in refused(liar, BY_DATE, right, Verb.PROPOSE)
    assert "folders" in liar.ask(DEFAULT, PERSON, Verb.PLAN)
    proposed = liar.ask(DEFAULT, right, Verb.PROPOSE)
    assert "folders" not in proposed
    plan = proposed["plan"]["hash"]
    assert liar.ask_for(Request(Verb.APPROVE, plan=plan[:16])).get("approved") == plan


def test_a_person_who_names_a_date_and_each_client_that_is_lost_gets_a_set_without_the_names(liar: Liar) -> None:
    liar.replaced()
    keep(liar.web, DATE, made := self_signed("appliance"))
    answer = liar.ask(BY_DATE, PERSON)
    assert [each["ground"] for each in answer["refused"]["objections"]] == ["client_lost"]
    assert "`--lose CLIENT` for each of these clients gives it back all the same" in answer["remarks"]
    for right in (ALONE, APPROVED):
        assert "only an operator's own command" in refused(liar, replace(BY_DATE, losses=("browser",)), right)
    said = done(liar.ask(replace(BY_DATE, losses=("browser",)), PERSON))
    assert "names_missing, which the person who asks accepts: " in said
    assert presented(liar.web.server)[0] == made.der()


def test_a_refusal_for_an_early_end_names_the_option_that_helps(liar: Liar) -> None:
    keep(liar.web, DATE, short := fresh(not_before=time.time() - 80 * DAY, not_after=time.time() + 2 * DAY))
    answer = liar.ask(BY_DATE, PERSON)
    assert [each["ground"] for each in answer["refused"]["objections"]] == ["too_short"]
    assert any(each.startswith("`--allow-shorter` gives it back all the same") for each in answer["remarks"])
    done(liar.ask(replace(BY_DATE, allow_shorter=True), PERSON))
    assert presented(liar.web.server)[0] == short.der()


def test_a_set_without_the_names_is_never_the_default_for_what_a_person_might_waive(liar: Liar) -> None:
    keep(liar.web, DATE, self_signed("appliance"))
    liar.replaced()
    os.chmod(folder_of(liar.web), 0o777)
    assert [each["set"] for each in sets(liar)["sets"] if each["default"]] != [DATE]
    done(liar.ask(replace(DEFAULT, losses=("browser",)), PERSON))
    assert presented(liar.web.server)[0] == liar.web.old.der()


def test_plan_journal_and_audit_say_that_another_program_keeps_the_files(liar: Liar) -> None:
    keep(liar.web, DATE, fresh())
    said = done(liar.ask(BY_DATE, PERSON))
    assert f"web: another program keeps these files, in {folder_of(liar.web)}" in said
    begun = next(each for each in liar.web.records() if each["event"] == "begin")
    assert begun["folders"] == [folder_of(liar.web)]
    code, audit = liar.web.command("audit", "--json")
    assert code == 0, audit
    assert f'"folders": ["{folder_of(liar.web)}"]' in " ".join(audit.split()).replace("[ ", "[").replace(" ]", "]")


def test_the_journal_has_nothing_about_a_set_of_another_program(liar: Liar) -> None:
    """Its files were in use and are of a transaction, which their name does not say."""
    liar.replaced()
    keep(liar.web, DATE, liar.web.old)
    told = {each["set"]: each for each in sets(liar)["sets"]}
    assert (told[DATE]["before"], told[DATE]["was_in_use"], told[DATE]["next"]) == (None, None, False)
    own = next(each for each in told.values() if not each["folder"])
    assert (own["was_in_use"], own["next"]) == (True, True)


def test_a_set_of_a_folder_is_of_an_allowed_issuer(liar: Liar) -> None:
    configured(liar, allowed_issuers=[{"spki_sha256": "0" * 64}])
    keep(liar.web, DATE, fresh())
    assert "allowed are spki_sha256: 000" in refused(liar, BY_DATE)
    configured(liar, allowed_issuers=[ISSUER])
    done(liar.ask(BY_DATE, PERSON))


def test_a_set_of_a_folder_lasts_as_long_as_a_candidate(liar: Liar) -> None:
    configured(liar, min_lifetime="30d")
    keep(liar.web, DATE, short := fresh(not_before=time.time() - DAY, not_after=time.time() + 20 * DAY))
    assert "'min_lifetime' is 30d" in refused(liar, BY_DATE)
    code, said = liar.web.command("rollback", "web", "--to", DATE, "--allow-shorter")
    assert code == 0, said
    assert presented(liar.web.server)[0] == short.der()


def test_a_key_that_was_given_up_does_not_return_from_a_folder(liar: Liar) -> None:
    lost = fresh()
    liar.web.put(lost)
    done(liar.ask(ActionRequest(Kind.REPLACE, ("web",)), PERSON))
    liar.web.put(fresh())
    done(liar.ask(ActionRequest(Kind.REPLACE, ("web",), key_compromised=True), PERSON))
    keep(liar.web, DATE, lost)
    assert "given up" in refused(liar, BY_DATE)


def test_a_set_that_was_written_after_certvigil_s_first_change_is_no_default_whatever_its_date(liar: Liar) -> None:
    liar.replaced()
    keep(liar.web, DATE, fresh())
    os.utime(f"{folder_of(liar.web)}/{DATE}-web.crt", (0, 0))
    os.utime(f"{folder_of(liar.web)}/{DATE}-web.key", (0, 0))
    assert [(each["folder"], each["default"]) for each in sets(liar)["sets"]] == [
        (folder_of(liar.web), False),
        ("", True),
    ]
    said = done(liar.ask(DEFAULT, PERSON))
    assert f"set {DATE} of {folder_of(liar.web)} is not the default: its files were changed at 20" in said
    assert "the default is set" not in said
    assert presented(liar.web.server)[0] == liar.web.old.der()


@pytest.mark.parametrize("fault", ["issuer", "given up", "quarantine"])
def test_a_set_that_would_be_refused_does_not_shut_out_certvigil_s_own_default(fault: str, liar: Liar) -> None:
    theirs = fresh(issuing=Authority.root("Somebody Else")) if fault == "issuer" else fresh()
    keep(liar.web, DATE, theirs)
    liar.replaced()
    if fault == "given up":
        liar.web.put(theirs)
        done(liar.ask(ActionRequest(Kind.REPLACE, ("web",)), PERSON))
        liar.web.put(fresh())
        done(liar.ask(ActionRequest(Kind.REPLACE, ("web",), key_compromised=True), PERSON))
    if fault == "quarantine":
        service: Any = liar.web.component()["service"]
        script = f"#!/bin/sh\n! cmp -s {folder_of(liar.web)}/{DATE}-web.crt {liar.web.site.certificate}\n"
        replace_file(f"{liar.web.directory}/test", script.encode(), 0o755)
        configured(liar, service={**service, "test": [f"{liar.web.directory}/test"]})
        answer = liar.ask(BY_DATE, PERSON)
        assert [each["outcome"] for each in answer["endings"]] == ["rolled_back"], answer
        configured(liar)
    assert [each["folder"] for each in sets(liar)["sets"] if each["default"]] == [""]
    said = done(liar.ask(DEFAULT, PERSON))
    assert f"set {DATE} of {folder_of(liar.web)} is not the default: it is refused: " in said
    assert presented(liar.web.server)[0] == liar.web.old.der()


def test_without_a_default_of_certvigil_s_own_no_set_of_a_folder_is_one(liar: Liar) -> None:
    keep(liar.web, DATE, fresh())
    assert [each["default"] for each in sets(liar)["sets"]] == [False]
    said = refused(liar, DEFAULT)
    assert said.startswith("there is no backup set default of web: certvigil has not changed it yet, and ")
    assert f"`certvigil rollback web --to {DATE}` gives back set {DATE} of {folder_of(liar.web)}" in said


def test_of_each_older_set_it_is_said_why_it_is_not_the_default_the_oldest_first(liar: Liar) -> None:
    older = dates(6)
    for date in older:
        keep(liar.web, date, fresh(), key=fresh())
    keep(liar.web, DATE, fresh())
    os.unlink(f"{folder_of(liar.web)}/{older[0]}-web.key")
    assert f"--to {DATE}` gives back" in refused(liar, DEFAULT)
    liar.replaced()
    remarks = liar.ask(DEFAULT, PERSON, Verb.PLAN)["remarks"]
    told = [each for each in remarks if "is not the default" in each]
    assert [each.split()[1] for each in told] == older[:4]
    assert f"half a set: there is no {older[0]}-web.key" in told[0]
    assert "does not belong to" in told[1]
    assert any(f"the default is set {DATE} of" in each for each in remarks)


class Counting(World):
    """The world, with a count of the reads of each file."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()

    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        self.reads[path] += 1
        return super().read(path)


def dates(number: int) -> list[str]:
    return [time.strftime("%Y%m%d", time.gmtime(1_500_000_000 + each * DAY)) for each in range(number)]


def test_the_newest_sets_of_a_folder_are_listed_and_the_number_of_the_others_is_said(liar: Liar) -> None:
    kept, written = fresh(), dates(backup_folder.MOST_SETS + 7)
    for date in written:
        keep(liar.web, date, kept)
    told = sets(liar)
    assert [each["set"] for each in told["sets"]] == written[7:]
    assert told["left_out"] == [{"components": ["web"], "folders": [folder_of(liar.web)], "dates": 7}]
    code, said = liar.web.command("backups", "web")
    assert code == 0, said
    assert f"web: 7 older sets of {folder_of(liar.web)} are not listed" in " ".join(said.split())
    done(liar.ask(ActionRequest(Kind.ROLLBACK, ("web",), written[0]), PERSON))
    assert presented(liar.web.server)[0] == kept.der()


def test_a_list_reads_each_file_of_a_folder_once(liar: Liar) -> None:
    kept, written = fresh(), dates(12)
    for date in written:
        keep(liar.web, date, kept)
    world = Counting()
    liar.ask_for(Request(Verb.BACKUPS, components=("web",)), world=world)
    read = {path: number for path, number in world.reads.items() if path.startswith(folder_of(liar.web))}
    assert len(read) == 2 * len(written)
    assert set(read.values()) == {1}


def test_a_folder_is_read_up_to_a_number_of_bytes(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    for date in (written := dates(6)):
        keep(liar.web, date, fresh())
    monkeypatch.setattr(backup_folder, "MOST_BYTES", 1)
    config = load(liar.web.config_file, {})
    assert isinstance(config, Config), config
    found = newest_sets(World(), [config.components["web"]])
    assert (list(found.by_date), found.left_out) == (written[-1:], 5)


def test_a_file_that_is_too_large_is_none_of_a_set(liar: Liar) -> None:
    keep(liar.web, DATE, fresh())
    with Path(folder_of(liar.web), f"{DATE}-web.crt").open("ab") as file:
        file.truncate(2**20 + 1)
    assert f"there is no {DATE}-web.crt" in refused(liar, BY_DATE)


def test_a_folder_that_cannot_be_read_shuts_out_no_set_of_certvigil_s_own(liar: Liar) -> None:
    liar.replaced()
    os.symlink(folder_of(liar.web), folder_of(liar.web))
    told = sets(liar)
    assert [each["default"] for each in told["sets"]] == [True]
    assert [each["folder"] for each in told["unreadable"]] == [folder_of(liar.web)]
    code, said = liar.web.command("backups", "web")
    assert (code, f"web: {folder_of(liar.web)} cannot be read" in " ".join(said.split())) == (0, True), said
    done(liar.ask(DEFAULT, PERSON))
    assert presented(liar.web.server)[0] == liar.web.old.der()


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder is given to another user")
@pytest.mark.parametrize("before", [True, False], ids=["before the first change", "after it"])
def test_the_default_is_what_the_product_made_itself_where_only_root_can_have_put_it_there(
    before: bool, liar: Liar
) -> None:
    configured(liar, default_certificate={"self_signed": True})
    made = self_signed(NAME)
    keep(liar.web, DATE, made)
    if not before:
        liar.replaced()
    assert [each["set"] for each in sets(liar)["sets"] if each["default"]] == [DATE]
    lost = refused(liar, DEFAULT)
    assert "browser" in lost, "each client that it loses is named first"
    said = done(liar.ask(replace(DEFAULT, losses=("browser",)), PERSON))
    assert f"the default is set {DATE} of {folder_of(liar.web)}, which " in said
    assert presented(liar.web.server)[0] == made.der()


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder is root's")
def test_a_set_that_certvigil_installed_once_is_not_what_the_product_made_though_it_signed_itself(liar: Liar) -> None:
    configured(liar, default_certificate={"self_signed": True})
    own = self_signed(NAME)
    keep(liar.web, DATE, own)
    store = Path(liar.web.directory, "root.pem")
    before = store.read_bytes()
    store.write_bytes(before + bundle([own]))
    for issued in (own, fresh()):
        liar.web.put(issued)
        code, said = liar.web.command("replace", "web")
        assert code == 0, said
    store.write_bytes(before)
    assert [each["set"] for each in sets(liar)["sets"] if each["default"]] != [DATE]


def _by_another(folder: Path) -> None:
    os.chown(folder, 65534, -1)


def _file_of_another(folder: Path) -> None:
    os.chown(folder / f"{DATE}-web.crt", 65534, -1)


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o1777)


def _of_a_ca(folder: Path) -> None:
    issued = fresh()
    replace_file(str(folder / f"{DATE}-web.crt"), issued.chain_pem())
    replace_file(str(folder / f"{DATE}-web.key"), issued.key_pem(), 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder is given to another user")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_by_another, "others than root may have put it there ({0}: {0}: belongs to user 65534, expected root)"),
        (_file_of_another, "others than root may have put it there ({0}: {0}/20200101-web.crt: belongs to user 65534"),
        (_open_to_all, "others than root may have put it there ({0}: writable by group or others (mode 1777)"),
        (_of_a_ca, "the certificate of web in it is not the product's own default one"),
    ],
)
def test_a_set_that_another_user_may_have_dated_is_no_default_and_the_refusal_says_why(
    spoil: Callable[[Path], None], why: str, liar: Liar
) -> None:
    configured(liar, default_certificate={"self_signed": True})
    keep(liar.web, DATE, self_signed(NAME))
    spoil(Path(folder_of(liar.web)))
    assert not [each for each in sets(liar)["sets"] if each["default"]]
    said = refused(liar, replace(DEFAULT, losses=("browser",)))
    assert f"`certvigil rollback web --to {DATE}` gives back set {DATE}" in said
    assert f", the first whole one, but {why.format(folder_of(liar.web))}" in said
