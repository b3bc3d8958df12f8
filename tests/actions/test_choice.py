"""Of several candidates in an inbox the newest that can be used counts; what becomes of the others is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actions.candidate import Candidate, Candidates, Flaw, Given, Keyless, NoCandidate, identities, read_candidates
from actions.choice import Choice, choose
from actions.ending import Ground
from actions.plan import Change, candidate_of
from actions.plan_replacement import plan_replacement
from actions.precheck import Demands, Issuers, Objection
from actions.prepare import Prepared, RefusedPlan
from actions.rehearse import RehearsalStage
from actions.world import World
from monitor.lab.ca import DAY, Authority, Issued, KeyType
from tests.kit.candidates import ENDPOINT, ISSUING, NAME, NOW, ROOT, made, presented, value, view
from tests.kit.component_site import SiteDisk, site

ISSUER = Issuers("our CA", value(ISSUING).public_key_sha256())
STRANGER = ROOT.intermediate("Stranger")


def of_age(days: float, name: str = NAME, authority: Authority = ISSUING, left: float = 90, **knobs: object) -> Issued:
    """Return a certificate that began so many days ago and has so many days left."""
    return authority.issue(name, not_before=NOW - days * DAY, not_after=NOW + left * DAY, **knobs)  # type: ignore[arg-type]


def offered(leaf: Issued, authority: Authority = ISSUING) -> Candidate:
    return made(leaf, authority)


def without_key(leaf: Issued) -> Keyless:
    return Keyless(value(leaf), (value(ISSUING),), NoCandidate(Flaw.NO_KEY, "there is no private key for it"))


OLD, MIDDLE, NEW = (of_age(days) for days in (9, 5, 1))
DEMANDS = Demands((NAME,), (view(ROOT),), allowed_issuers=(ISSUER,))


@pytest.mark.parametrize(
    ("candidates", "chosen", "obsolete", "passed_over"),
    [
        pytest.param([offered(NEW)], NEW, [], {}, id="one"),
        pytest.param([offered(OLD), offered(NEW), offered(MIDDLE)], NEW, [MIDDLE, OLD], {}, id="the newest of three"),
        pytest.param(
            [offered(OLD), without_key(NEW)], OLD, [], {NEW: Ground.NO_CANDIDATE}, id="the key of the newest is missing"
        ),
        pytest.param(
            [offered(OLD), offered(other := of_age(1, "other.example.com"))],
            OLD,
            [],
            {other: Ground.NAMES_MISSING},
            id="the newest has another name",
        ),
        pytest.param(
            [offered(NEW), offered(other := of_age(7, "other.example.com"))],
            NEW,
            [],
            {other: Ground.NAMES_MISSING},
            id="an older one of another name is not obsolete",
        ),
        pytest.param(
            [offered(OLD), offered(foreign := of_age(1, authority=STRANGER), STRANGER)],
            OLD,
            [],
            {foreign: Ground.ISSUER_NOT_ALLOWED},
            id="the newest is of an issuer that is not allowed",
        ),
        pytest.param(
            [offered(OLD), offered(expired := of_age(3, left=-1))],
            OLD,
            [],
            {expired: Ground.NOT_VALID_NOW},
            id="the newest has expired",
        ),
        pytest.param(
            [offered(OLD), offered(future := of_age(-2))],
            OLD,
            [],
            {future: Ground.NOT_VALID_NOW},
            id="the newest is not yet valid",
        ),
        pytest.param(
            [offered(NEW), without_key(OLD)], NEW, [OLD], {}, id="an older one without its key is obsolete all the same"
        ),
        pytest.param(
            [offered(longer := of_age(5, left=91)), offered(MIDDLE)],
            longer,
            [MIDDLE],
            {},
            id="the end decides between two",
        ),
    ],
)
def test_the_newest_candidate_that_can_be_used_is_chosen(
    candidates: list[Candidate | Keyless], chosen: Issued, obsolete: list[Issued], passed_over: dict[Issued, Ground]
) -> None:
    for order in (candidates, candidates[::-1]):
        choice = choose(order, DEMANDS, NOW)
        assert isinstance(choice, Choice)
        assert choice.candidate.certificate == value(chosen)
        assert choice.fit
        assert list(choice.obsolete) == [value(each) for each in obsolete]
        assert {each.certificate: each.why.ground for each in choice.passed_over} == {
            value(each): ground for each, ground in passed_over.items()
        }


def test_a_candidate_that_is_barred_gives_way_to_an_older_one() -> None:
    choice = choose(
        [offered(NEW), offered(OLD)],
        DEMANDS,
        NOW,
        lambda each: Objection(Ground.QUARANTINED, "it failed") if each.certificate == value(NEW) else None,
    )
    assert isinstance(choice, Choice)
    assert choice.candidate.certificate == value(OLD)
    assert [each.why for each in choice.passed_over] == [Objection(Ground.QUARANTINED, "it failed")]


def test_where_none_can_be_used_the_newest_is_told() -> None:
    choice = choose([offered(of_age(5, left=-1)), offered(newest := of_age(2, left=-1))], DEMANDS, NOW)
    assert isinstance(choice, Choice)
    assert (choice.candidate.certificate, choice.fit) == (value(newest), False)
    nothing = choose([offered(of_age(5, left=-1)), without_key(NEW)], DEMANDS, NOW)
    assert nothing == Objection(Ground.NO_CANDIDATE, "no_key: there is no private key for it")


@pytest.fixture
def disk(tmp_path: Path) -> SiteDisk:
    return SiteDisk(tmp_path / "web")


def prepared(disk: SiteDisk, *files: Given, quarantined: dict[str, str] | None = None) -> Prepared | RefusedPlan:
    candidates = read_candidates(files)
    assert isinstance(candidates, Candidates), candidates
    return plan_replacement([site(disk.pair())], candidates, World(), NOW, quarantined=quarantined or {})


def pem(name: str, *parts: bytes) -> Given:
    return Given(name, b"".join(parts))


def whole(name: str, leaf: Issued) -> Given:
    return pem(name, leaf.chain_pem(), leaf.key_pem())


def test_candidates_of_different_names_do_not_pile_up_to_an_objection(disk: SiteDisk) -> None:
    """A hook that writes a file of another name at each renewal, as ACME clients have them."""
    plan = prepared(disk, whole("2026-09.pem", OLD), whole("2026-10.pem", MIDDLE), whole("2026-11.pem", NEW))
    assert isinstance(plan, Prepared)
    assert NEW.chain_pem() in plan.order.content.values()
    told = [each for each in plan.remarks if "obsolete" in each]
    assert [value(each).sha256[:16] in said for each, said in zip((MIDDLE, OLD), told, strict=True)] == [True, True]


def test_after_the_commit_older_ones_go_and_what_may_still_be_wanted_stays(disk: SiteDisk) -> None:
    other = of_age(1, "other.example.com", key=KeyType.P384)
    files = [
        whole("old.pem", OLD),
        pem("new.crt", NEW.pem()),
        pem("new.key", NEW.key_pem()),
        pem("chain.pem", ISSUING.pem()),
        pem("other.crt", other.pem()),
        pem("other.key", other.key_pem()),
        pem("README", b"hello"),
    ]
    plan = prepared(disk, *files)
    assert isinstance(plan, Prepared)
    gone = {each.name for each in files if plan.remainder.is_done_with(identities(each))}
    assert gone == {"old.pem", "new.crt", "new.key"}
    alone = prepared(disk, *files[:4], files[-1])
    assert isinstance(alone, Prepared)
    assert all(alone.remainder.is_done_with(identities(each)) for each in files), "with nothing left, all of it goes"


def _named(plan: Prepared) -> str:
    changes: tuple[Change, ...] = plan.order.plan.changes
    return candidate_of(changes)


def test_a_set_in_quarantine_gives_way_to_another_and_is_told_where_there_is_none(disk: SiteDisk) -> None:
    newest = prepared(disk, whole("new.pem", NEW), whole("old.pem", OLD))
    assert isinstance(newest, Prepared)
    held = {_named(newest): "its configuration test failed"}
    second = prepared(disk, whole("new.pem", NEW), whole("old.pem", OLD), quarantined=held)
    assert isinstance(second, Prepared)
    assert OLD.chain_pem() in second.order.content.values()
    assert any("its configuration test failed" in each for each in second.remarks)
    last = prepared(
        disk, whole("new.pem", NEW), whole("old.pem", OLD), quarantined=held | {_named(second): "so did it"}
    )
    assert isinstance(last, Prepared)
    assert _named(last) in held, "whoever holds it back says so"


def test_what_is_installed_already_is_done_with_though_a_newer_one_lacks_its_key(disk: SiteDisk) -> None:
    installed = of_age(3)
    disk.pair(installed)
    candidates = read_candidates([whole("a.pem", installed), pem("b.crt", of_age(1, key=KeyType.P384).chain_pem())])
    assert isinstance(candidates, Candidates)
    refused = plan_replacement([site(disk.pair(installed))], candidates, World(), NOW)
    assert isinstance(refused, RefusedPlan)
    assert [each.ground for each in refused.objections] == [Ground.NOTHING_TO_DO, Ground.NO_CANDIDATE]
    assert refused.remainder is not None
    assert refused.remainder.is_done_with(identities(whole("a.pem", installed)))


def test_components_of_different_names_each_take_their_own_of_one_pile(disk: SiteDisk, tmp_path: Path) -> None:
    mail = SiteDisk(tmp_path / "mail")
    old = of_age(20, "mail.example.com")
    stage = RehearsalStage(
        replace(ENDPOINT, name="mail", server_name="mail.example.com"), (view(ROOT),), presented([old, ISSUING])
    )
    new = of_age(1, "mail.example.com", key=KeyType.P384)
    candidates = read_candidates([whole("web.pem", NEW), whole("mail.pem", new)])
    assert isinstance(candidates, Candidates)
    plan = plan_replacement([site(disk.pair()), site(mail.pair(old), "mail", stage)], candidates, World(), NOW)
    assert isinstance(plan, Prepared), plan
    by_component = {
        each.component: plan.order.content[each.path] for each in plan.order.plan.changes if "crt" in each.path
    }
    assert by_component == {"web": NEW.chain_pem(), "mail": new.chain_pem()}
    assert plan.remainder.is_done_with(identities(whole("web.pem", NEW)))


def test_a_forgotten_intermediate_is_added_from_the_installed_chain(disk: SiteDisk) -> None:
    plan = prepared(disk, pem("new.pem", NEW.pem(), NEW.key_pem()))
    assert isinstance(plan, Prepared), plan
    assert NEW.chain_pem() in plan.order.content.values()
    said = f"the intermediate {value(ISSUING).subject} was missing, and was added from the installed chain"
    assert said in plan.remarks


def test_a_forgotten_intermediate_is_added_from_what_a_client_holds(disk: SiteDisk) -> None:
    other = ROOT.intermediate("Other Issuing")
    new = of_age(1, authority=other)
    holding = replace(view(ROOT, name="fetching"), held=(value(other),))
    where = site(disk.pair(), stage=RehearsalStage(ENDPOINT, (view(ROOT), holding), presented([OLD, ISSUING])))
    candidates = read_candidates([pem("new.pem", new.pem(), new.key_pem())])
    assert isinstance(candidates, Candidates)
    plan = plan_replacement([where], candidates, World(), NOW)
    assert isinstance(plan, Prepared), plan
    assert new.chain_pem() in plan.order.content.values()
    assert any("was added from the certificates of the client fetching" in each for each in plan.remarks)


def test_an_intermediate_that_nobody_knows_is_told_once_and_not_for_each_client(disk: SiteDisk) -> None:
    views = tuple(view(ROOT, name=name) for name in ("browser", "java", "finder"))
    where = site(disk.pair(), stage=RehearsalStage(ENDPOINT, views, presented([OLD, ISSUING])))
    other = ROOT.intermediate("Other Issuing")
    refused = plan_replacement([where], Candidates((made(of_age(1, authority=other)),)), World(), NOW)
    assert isinstance(refused, RefusedPlan)
    (only,) = refused.objections
    assert only.ground is Ground.INCOMPLETE_CHAIN
    assert "java, finder would miss it" in only.detail
    assert len([each for each in refused.effects if each.lost]) == 3, (
        "what becomes of each client is shown all the same"
    )


def test_a_root_is_never_added(disk: SiteDisk) -> None:
    plan = prepared(disk, pem("new.pem", NEW.pem(), NEW.key_pem()))
    assert isinstance(plan, Prepared)
    assert not any(ROOT.pem() in each for each in plan.order.content.values())
