"""What the actor does for a daemon that lies: nothing that it did not see itself."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.actor.evidence import is_own
from monitor.actor.request import Verb
from monitor.actor.sightings import FORGOTTEN, Sightings
from monitor.lab.ca import DAY, Authority
from monitor.lab.servers import replace_file
from tests.bench import rogue
from tests.kit.actor import APPROVED, ISSUER, PERSON
from tests.kit.authority import fresh
from tests.kit.liar import REPLACE, Liar, lying
from tests.kit.openssl_client import presented

nginx = pytest.mark.server("nginx")

HOUR = 3600.0
AUTO_OF_HOUSE = {"mode": "auto", "allowed_issuers": [ISSUER]}


UNDO = {"name": "undo", "when": {"regressed_within": "3h"}, "mode": "auto", "do": ["rollback"]}


def refused(liar: Liar, action: ActionRequest, why: str) -> None:
    """Check that it is not done, and why."""
    before, served = liar.web.on_disk(), presented(liar.web.server)[0]
    answer = liar.ask(action)
    assert why in answer.get("cannot", ""), answer
    assert liar.web.on_disk() == before
    assert presented(liar.web.server)[0] == served


@nginx
def test_a_replacement_that_made_nothing_worse_is_not_undone_for_the_daemon() -> None:
    with lying({"mode": "approve"}) as liar:
        undo = liar.replaced()
        refused(liar, undo, "nobody is worse off")
        liar.world.shift = 30 * DAY
        refused(liar, undo, "does not call for it")


def soon() -> dict[str, float]:
    """Return a lifetime that ends well within what is watched."""
    return {"not_before": time.time() - 60, "not_after": time.time() + 70 * 60}


@nginx
def test_what_got_worse_is_undone_once_after_the_actor_saw_it_twice_a_minute_apart() -> None:
    with lying({"mode": "approve"}, UNDO) as liar:
        undo = liar.replaced(**soon())
        liar.world.shift = 71 * 60.0
        refused(liar, undo, "ask again after")
        liar.world.shift += 30
        refused(liar, undo, "ask again after")
        liar.world.shift += 31
        answer = liar.ask(undo)
        assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
        assert presented(liar.web.server)[0] == liar.web.old.der()
        assert liar.ask(undo).get("endings") is None


@nginx
def test_what_got_worse_under_another_trust_store_is_no_evidence() -> None:
    with lying({"mode": "approve"}, UNDO) as liar:
        undo = liar.replaced()
        store = Path(liar.web.directory, "root.pem")
        store.write_bytes(Authority.root("Somebody Else").pem() + store.read_bytes())
        liar.world.shift = 71 * 60.0
        refused(liar, undo, "nobody is worse off")
        store.write_bytes(Authority.root("Somebody Else").pem())
        for _ in range(2):
            liar.world.shift += 61
            answer = liar.ask(undo)
            assert "cannot" in answer or "refused" in answer, answer


@nginx
def test_an_endpoint_that_is_not_reached_is_no_evidence() -> None:
    with lying({"mode": "approve"}, UNDO) as liar:
        undo = liar.replaced(**soon())
        before = liar.web.on_disk()
        liar.web.server.stop()
        liar.world.shift = 71 * 60.0
        for _ in range(2):
            answer = liar.ask(undo)
            assert "endings" not in answer, answer
            liar.world.shift += 61
        assert liar.web.on_disk() == before


@nginx
@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"when": {"remaining_below": "1d"}}, "does not call for it"),
        ({"when": {"candidate_present": True}, "windows": [{"cron": "0 0 29 2 *", "duration": "1m"}]}, "window"),
        ({"when": {"finding": "daemon_unstable"}}, "does not call for it"),
        ({"when": {"all": [{"candidate_present": True}, {"not": {"finding": "unsettled"}}]}}, "does not see"),
        ({"when": {"candidate_present": True, "for": "1h"}}, "ask again after"),
    ],
)
def test_a_policy_is_not_carried_out_by_the_daemons_word_for_its_facts(policy: dict[str, Any], why: str) -> None:
    with lying(AUTO_OF_HOUSE, {"name": "mine", "mode": "auto", "do": ["replace"], **policy}) as liar:
        liar.web.put(fresh())
        refused(liar, REPLACE, why)


@nginx
def test_an_approved_plan_is_not_carried_out_before_a_policy_would_have_it_done() -> None:
    lasting = {"name": "mine", "when": {"finding": "not_served", "for": "30m"}, "mode": "approve", "do": ["activate"]}
    soon = {"name": "soon", "when": {"remaining_below": "1d"}, "mode": "approve", "do": ["replace"]}
    with lying({"mode": "approve", "not_served_after": "1s"}, soon, lasting) as liar:
        liar.web.put(fresh())
        assert "does not call for it" in liar.ask(REPLACE, APPROVED)["cannot"]
        new = fresh()
        for path, data in ((liar.web.site.key, new.key_pem()), (liar.web.site.certificate, new.chain_pem())):
            replace_file(path, data, 0o600)
        liar.world.shift = 60.0
        activate = ActionRequest(Kind.ACTIVATE, ("web",))
        assert "plan" in liar.ask(activate, verb=Verb.PROPOSE)
        liar.world.shift += 20 * 60
        assert "ask again after" in liar.ask(activate, APPROVED)["cannot"]
        liar.world.shift += 11 * 60
        answer = liar.ask(activate, APPROVED)
        assert answer["endings"][-1]["outcome"] == "committed", "it counts from when the plan was proposed"


@nginx
def test_an_older_certificate_than_one_that_was_in_use_needs_a_person() -> None:
    with lying({}) as liar:
        document = json.loads(Path(liar.web.config_file).read_text())
        document["components"]["web"] |= AUTO_OF_HOUSE
        Path(liar.web.config_file).write_text(json.dumps(document))
        liar.web.put(fresh(not_before=time.time() - 30 * DAY))
        before = liar.web.on_disk()
        (objection,) = liar.ask(REPLACE)["refused"]["objections"]
        assert objection["ground"] == "needs_a_person"
        assert "one that begins later was in use" in objection["detail"]
        assert liar.web.on_disk() == before
        assert "one that begins later was in use" in "".join(liar.ask(REPLACE, PERSON, Verb.PLAN)["remarks"])
        assert liar.ask(REPLACE, APPROVED)["endings"][-1]["outcome"] == "committed"


def test_what_was_seen_counts_from_the_actors_own_first_sight() -> None:
    sightings = Sightings()

    def seen(*keys: str, at: float, around: str = "same", steady: float | None = None) -> dict[Any, float]:
        return dict(sightings.note("web", around, keys, at, at if steady is None else steady))

    assert seen("a", at=1000) == {"a": 1000}
    assert seen("a", "b", at=1060) == {"a": 1000, "b": 1060}
    assert seen("b", at=1070) == {"b": 1060}
    assert seen("a", "b", at=1080) == {"a": 1080, "b": 1060}, "what was gone meanwhile counts anew"
    assert seen("a", at=1090, around="another") == {"a": 1090}
    assert seen("a", at=1100, around="another", steady=1110) == {"a": 1100}, "the clock was changed"
    assert seen("a", at=1100 + FORGOTTEN + 1, around="another", steady=1110 + FORGOTTEN + 1)["a"] > FORGOTTEN


@pytest.mark.parametrize(("address", "own"), [("127.0.0.1", True), ("127.9.9.9", True), ("192.0.2.1", False)])
def test_an_address_of_this_host_is_told_from_anothers(address: str, own: bool) -> None:
    assert is_own(address) is own


def test_a_rogue_daemon_gets_nothing_done_that_no_policy_calls_for(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    house = rogue.RogueHouse(str(tmp_path), free=True)
    try:
        rogue.play(house, 400, seed=1)
    finally:
        house.actor.close()
    done = {name for each in house.begun() for name in each["plan"]["components"]}
    assert done == {"allowed"}, "what may be done is done, so that asking would get more done if more could be"
    assert not (tmp_path / "actor/requests").exists(), "no key is made for it"
    assert (tmp_path / "actor/offers").exists(), "it has offered certificates, of which none is installed"
    with house.actor.current.context() as context:
        begun = [each for each in context.records() if each.event == "begin"]
    assert [each for each in begun if "offered" in each.data] == []
