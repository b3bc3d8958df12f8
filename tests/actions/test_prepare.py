"""From a candidate, or from what lies on disk, to a plan, or to every reason why not."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from actions.candidate import Candidates, PrivateKey
from actions.component_files import keys_at_hand
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.plan import FileState, Kind
from actions.plan_activation import plan_activation
from actions.plan_replacement import plan_replacement
from actions.plan_rollback import plan_rollback
from actions.precheck import Issuers, Objection
from actions.prepare import Prepared, RefusedPlan
from actions.rehearse import RehearsalStage
from actions.world import World
from config.model import Artefacts, Component
from config.vocabulary import KeyKind, WriteMode
from monitor.lab.ca import DAY, Authority, KeyType, new_key, self_signed
from tests.kit.candidates import ENDPOINT, ISSUING, NAME, NOW, ROOT, good, made, presented, value, view
from tests.kit.component_site import CANDIDATE, NEW, OLD, SERVED, SiteDisk, grounds, plan, site
from tests.kit.scene import new_state

OTHER_ROOT = Authority.root("Other Root")
PARAMETERS = b"-----BEGIN DH PARAMETERS-----\nMIIBCAKCAQEA\n-----END DH PARAMETERS-----\n"


@pytest.fixture
def disk(tmp_path: Path) -> SiteDisk:
    return SiteDisk(tmp_path / "web")


def state(path: str, data: bytes | None = None) -> FileState:
    found = os.stat(path)
    content = Path(path).read_bytes() if data is None else data
    return FileState(hashlib.sha256(content).hexdigest(), found.st_mode & 0o7777, found.st_uid, found.st_gid)


def test_a_plan_says_of_every_file_what_it_is_and_what_it_is_to_be(disk: SiteDisk) -> None:
    artefacts = disk.pair()
    assert artefacts.certificate
    assert artefacts.key
    order = plan(site(artefacts)).order
    assert order.content == {artefacts.certificate: NEW.chain_pem(), artefacts.key: NEW.key_pem()}
    assert order.plan.kind is Kind.REPLACE
    assert order.plan.components == ("web",)
    assert order.plan.expected_losses == ()
    for change in order.plan.changes:
        assert change.before == state(change.path)
        assert change.after == state(change.path, order.content[change.path])


def test_making_a_plan_touches_nothing(disk: SiteDisk) -> None:
    before = [(each.name, each.read_bytes(), each.stat().st_mtime_ns) for each in disk.path.iterdir()]
    plan(site(disk.pair()))
    assert {each[:2] for each in before} <= {(each.name, each.read_bytes()) for each in disk.path.iterdir()}
    assert len(list(disk.path.iterdir())) == 2


def test_the_hash_of_a_plan_is_the_same_for_the_same_disk(disk: SiteDisk, tmp_path: Path) -> None:
    portal = site(SiteDisk(tmp_path / "portal").pair(), "portal")
    web = site(disk.pair())
    hashes = {plan(*sites).order.plan.hash for sites in [(web, portal), (portal, web), (web, portal)]}
    assert len(hashes) == 1


@pytest.mark.parametrize("edit", ["content", "mode"])
def test_the_hash_of_a_plan_changes_with_what_is_on_disk(disk: SiteDisk, edit: str) -> None:
    artefacts = disk.pair()
    first = plan(site(artefacts)).order.plan.hash
    disk.write("site.crt", b"# edited\n" + OLD.chain_pem() if edit == "content" else OLD.chain_pem(), 0o600)
    assert plan(site(artefacts)).order.plan.hash != first


def test_nothing_shows_the_content_of_an_order(disk: SiteDisk) -> None:
    prepared = plan(site(disk.pair()))
    secret = NEW.key_pem().decode().splitlines()[1]
    assert secret not in repr(prepared) + repr(prepared.order)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_there_is_nothing_to_do_where_the_files_say_so_already(disk: SiteDisk, form: PrivateFormat) -> None:
    disk.pair(NEW)
    key = disk.write("site.key", NEW.key.private_bytes(Encoding.PEM, form, NoEncryption()))
    certificate = disk.write("site.crt", b"# comment\n" + NEW.chain_pem())
    assert grounds(site(Artefacts(certificate=certificate, key=key))) == {Ground.NOTHING_TO_DO}


def test_a_file_that_says_the_same_stays_in_the_plan_as_it_is(disk: SiteDisk) -> None:
    """So it is compared and backed up with the others."""
    renewed = ISSUING.issue(NAME, key=OLD.key)
    artefacts = disk.pair()
    key = disk.write("site.key", b"# ours\n" + OLD.key_pem())
    order = plan(site(artefacts), candidate=made(renewed, ISSUING)).order
    kept = next(change for change in order.plan.changes if change.path == key)
    assert kept.before == kept.after == state(key)
    assert order.content[key] == b"# ours\n" + OLD.key_pem()


def test_a_component_that_has_the_candidate_already_is_left_out(disk: SiteDisk, tmp_path: Path) -> None:
    order = plan(site(disk.pair(NEW)), site(SiteDisk(tmp_path / "portal").pair(), "portal")).order
    assert order.plan.components == ("portal",)
    assert {change.component for change in order.plan.changes} == {"portal"}


def test_one_candidate_takes_its_form_in_each_of_several_components(disk: SiteDisk, tmp_path: Path) -> None:
    console = SiteDisk(tmp_path / "console")
    combined = console.write("certificate.pem", OLD.key_pem() + OLD.pem(), 0o600)
    chain = console.write("intermediate.crt", ISSUING.pem(), 0o644)
    web = disk.pair()
    assert web.certificate
    order = plan(site(web), site(Artefacts(combined=combined, chain=chain), "console")).order
    assert order.plan.components == ("console", "web")
    assert [change.component for change in order.plan.changes] == ["console", "console", "web", "web"]
    assert order.content[combined] == NEW.key_pem() + NEW.pem()
    assert order.content[chain] == ISSUING.pem()
    assert order.content[web.certificate] == NEW.chain_pem()


RSA_OLD = ISSUING.issue(NAME, not_before=NOW - 70 * DAY, not_after=NOW + 20 * DAY, key=KeyType.RSA2048)
RSA_NEW = ISSUING.issue(NAME, key=new_key(KeyType.RSA2048))


def test_of_two_candidates_each_component_gets_the_one_of_its_own_kind_of_key(disk: SiteDisk, tmp_path: Path) -> None:
    ec, rsa = disk.pair(), SiteDisk(tmp_path / "rsa").pair(RSA_OLD)
    prepared = plan_replacement(
        [site(rsa, "rsa"), site(ec, "ec")], Candidates((CANDIDATE, made(RSA_NEW, ISSUING))), World(), NOW
    )
    assert isinstance(prepared, Prepared)
    content = prepared.order.content
    assert [content[each.key or ""] for each in (ec, rsa)] == [NEW.key_pem(), RSA_NEW.key_pem()]
    assert [each.chains[0][0] for each in prepared.order.plan.serves] == [value(NEW).sha256, value(RSA_NEW).sha256]
    assert prepared.remarks == ()


def test_a_candidate_that_no_component_has_the_kind_of_key_for_is_left_out_and_that_is_said(disk: SiteDisk) -> None:
    prepared = plan_replacement([site(disk.pair())], Candidates((made(RSA_NEW, ISSUING), CANDIDATE)), World(), NOW)
    assert isinstance(prepared, Prepared)
    assert NEW.key_pem() in prepared.order.content.values()
    assert prepared.remarks == (f"CN={NAME}, for a key of rsa, fits no component of these",)


def test_a_component_without_files_gets_the_candidate_that_its_endpoint_asks_for(disk: SiteDisk) -> None:
    where = Artefacts(str(disk.path / "site.crt"), str(disk.path / "site.key"))
    candidates = Candidates((CANDIDATE, made(RSA_NEW, ISSUING)))
    asking = RehearsalStage(replace(ENDPOINT, key_types=(KeyKind.RSA,)), (view(ROOT),))
    prepared = plan_replacement([site(where, stage=asking)], candidates, World(), NOW)
    assert isinstance(prepared, Prepared)
    assert prepared.order.content[where.key or ""] == RSA_NEW.key_pem()
    served = plan_replacement([site(where)], candidates, World(), NOW)
    assert isinstance(served, Prepared), "it is of the kind that is served"
    assert served.order.content[where.key or ""] == NEW.key_pem()
    refused = plan_replacement([site(where, stage=RehearsalStage(ENDPOINT, (view(ROOT),)))], candidates, World(), NOW)
    assert isinstance(refused, RefusedPlan)
    assert refused.objections == (
        Objection(
            Ground.KEY_MISMATCH,
            "no certificate can be chosen for web: the certificates are for keys of ec, rsa, and the kind of web is "
            "unknown",
        ),
    )


@pytest.mark.parametrize("link", [True, False], ids=["over a link", "as it stands"])
def test_two_components_cannot_share_a_path(disk: SiteDisk, link: bool) -> None:
    artefacts = disk.pair()
    assert artefacts.certificate
    shared = artefacts.certificate
    if link:
        shared = str(disk.path / "link.crt")
        os.symlink("site.crt", shared)
    other = Artefacts(certificate=shared, key=disk.write("other.key", OLD.key_pem()))
    assert grounds(site(artefacts), site(other, "portal")) == {Ground.PATH_SHARED}


def test_a_symbolic_link_is_followed_and_both_ends_are_known(disk: SiteDisk) -> None:
    artefacts = disk.pair()
    assert artefacts.certificate
    link = str(disk.path / "current.crt")
    os.symlink("site.crt", link)
    order = plan(site(replace(artefacts, certificate=link))).order
    assert (order.plan.changes[0].path, order.plan.changes[0].given) == (artefacts.certificate, link)
    assert order.plan.changes[1].given == ""


def test_files_that_are_missing_get_the_owner_of_their_neighbours_and_a_mode_that_fits(disk: SiteDisk) -> None:
    certificate = disk.write("site.crt", OLD.chain_pem(), 0o644)
    order = plan(site(Artefacts(certificate=certificate, key=str(disk.path / "site.key")))).order
    key = order.plan.changes[1]
    assert key.before is None
    assert (new_state(key).mode, new_state(key).owner) == (0o600, os.getuid())


@pytest.mark.parametrize("stage", [None, RehearsalStage(ENDPOINT, (view(ROOT),))])
def test_a_component_without_any_file_can_be_given_its_first(disk: SiteDisk, stage: RehearsalStage | None) -> None:
    paths = [str(disk.path / name) for name in ("site.crt", "site.key", "chain.crt")]
    order = plan(site(Artefacts(paths[0], paths[1], paths[2]), stage=stage)).order
    assert [new_state(change).mode for change in order.plan.changes] == [0o644, 0o600, 0o644]
    assert order.plan.served == (replace(order.plan.served[0], chains=()),)


def test_parameters_in_a_combined_file_are_kept(disk: SiteDisk) -> None:
    combined = disk.write("all.pem", OLD.key_pem() + OLD.chain_pem() + PARAMETERS)
    assert plan(site(Artefacts(combined=combined))).order.content[combined].endswith(NEW.chain_pem() + PARAMETERS)


def test_what_is_to_be_served_and_what_was_is_part_of_the_plan(disk: SiteDisk) -> None:
    order = plan(site(disk.pair()), candidate=made(NEW, ISSUING, root=ROOT)).order
    new, old, issuing, root = (value(each).sha256 for each in (NEW, OLD, ISSUING, ROOT))
    assert [(each.endpoint, each.chains) for each in order.plan.serves] == [
        ("web", ((new, issuing), (new, issuing, root)))
    ]
    assert [(each.endpoint, each.chains) for each in order.plan.served] == [("web", ((old, issuing),))]


def test_whatever_is_against_the_candidate_is_told_at_once(disk: SiteDisk) -> None:
    candidate = good("other.example.com", not_before=NOW - 80 * DAY, not_after=NOW + DAY, key=KeyType.RSA1024)
    found = grounds(site(disk.pair()), candidate=candidate)
    # A key that is too short for OpenSSL's default security level is refused by its clients, too.
    assert found == {
        Ground.NAMES_MISSING,
        Ground.TOO_SHORT,
        Ground.WEAK_KEY,
        Ground.NO_CLIENT_ACCEPTS,
        Ground.CANNOT_BE_SERVED,
    }


def test_losing_a_client_blocks_unless_it_may_be_lost(disk: SiteDisk) -> None:
    candidate = made(OTHER_ROOT.issue(NAME), root=OTHER_ROOT)
    stage = RehearsalStage(ENDPOINT, (view(ROOT, OTHER_ROOT), view(ROOT, name="java")), SERVED)
    where = site(disk.pair(), stage=stage)
    refused = plan_replacement([where], Candidates((candidate,)), World(), NOW)
    assert isinstance(refused, RefusedPlan)
    (objection,) = refused.objections
    assert objection.ground is Ground.CLIENT_LOST
    assert objection.detail.startswith("java would no longer accept web: ")
    assert "to the server's chain" not in objection.detail
    assert [each.lost for each in refused.effects] == [False, True]
    prepared = plan(where, candidate=candidate, losses=("java", "nobody"))
    assert prepared.order.plan.expected_losses == ("java",)


def test_where_nothing_is_served_the_files_show_who_accepts_today(disk: SiteDisk) -> None:
    stage = RehearsalStage(ENDPOINT, (view(ROOT), view(OTHER_ROOT, name="new")))
    candidate = made(OTHER_ROOT.issue(NAME), root=OTHER_ROOT)
    assert grounds(site(disk.pair(), stage=stage), candidate=candidate) == {Ground.CLIENT_LOST}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_an_address_that_only_says_where_to_look_is_no_name_to_cover(disk: SiteDisk, host: str) -> None:
    stage = RehearsalStage(replace(ENDPOINT, host=host, server_name=None), (view(ROOT, names=(NAME,)),), SERVED)
    plan(site(disk.pair(), stage=stage))


def test_the_host_is_a_name_to_cover_where_it_is_one(disk: SiteDisk) -> None:
    stage = RehearsalStage(replace(ENDPOINT, host="other.example.com", server_name=None), (view(ROOT),), SERVED)
    assert Ground.NAMES_MISSING in grounds(site(disk.pair(), stage=stage))


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o660])
def test_a_key_is_not_written_into_a_file_that_others_may_read(disk: SiteDisk, mode: int) -> None:
    combined = disk.write("all.pem", OLD.chain_pem(), mode)
    assert grounds(site(Artefacts(combined=combined))) == {Ground.KEY_WOULD_BE_EXPOSED}


def test_a_file_that_others_may_read_keeps_its_mode_where_it_holds_a_key_already(disk: SiteDisk) -> None:
    """Whoever made it so may have had a reason, and `key_exposed` tells of it."""
    combined = disk.write("all.pem", OLD.key_pem() + OLD.chain_pem(), 0o644)
    (change,) = plan(site(Artefacts(combined=combined))).order.plan.changes
    assert new_state(change).mode == 0o644


@pytest.mark.parametrize("mode", WriteMode)
def test_a_plan_says_whether_files_are_written_over(disk: SiteDisk, mode: WriteMode) -> None:
    where = site(disk.pair())
    changes = plan(replace(where, component=replace(where.component, write_mode=mode))).order.plan.changes
    assert {change.in_place for change in changes} == {mode is WriteMode.IN_PLACE}


def test_a_plan_names_the_files_beside_it_that_keep_what_is_replaced(disk: SiteDisk) -> None:
    """As in a directory of certbot's: only two of its four files are the component's."""
    pair = disk.pair()
    cert = disk.write("cert.pem", OLD.pem())
    disk.write("chain.pem", ISSUING.pem())
    disk.write("other.pem", ISSUING.issue("other.example.com").pem())
    disk.write("broken.pem", b"-----BEGIN CERTIFICATE-----")
    (remark,) = plan(site(pair)).remarks
    # The issuer in chain.pem has issued the new one, too.
    assert remark == f"files that are not changed, though they hold certificates of the old set: {cert}"
    assert plan(site(Artefacts(certificate=pair.certificate, key=pair.key, chain=cert))).remarks == ()


def test_what_the_policy_allows_is_held_to_each_component(disk: SiteDisk) -> None:
    where = replace(site(disk.pair()), allowed_issuers=(Issuers("nobody", "0" * 64),))
    shorter = good(not_before=NOW - 80 * DAY, not_after=NOW + 10 * DAY)
    assert grounds(where, candidate=shorter) == {Ground.ISSUER_NOT_ALLOWED, Ground.TOO_SHORT}
    assert grounds(replace(where, allow_shorter=True), candidate=shorter) == {Ground.ISSUER_NOT_ALLOWED}


def test_a_chain_file_is_not_emptied(disk: SiteDisk) -> None:
    chain = disk.write("chain.crt", ISSUING.pem())
    artefacts = replace(disk.pair(), chain=chain)
    direct = ROOT.issue(NAME)
    assert grounds(site(artefacts), candidate=made(direct)) == {Ground.NO_CHAIN_TO_WRITE}
    assert plan(site(artefacts), candidate=made(direct, root=ROOT)).order.content[chain] == ROOT.pem()


def test_a_chain_file_that_never_was_is_not_missed(disk: SiteDisk) -> None:
    artefacts = replace(disk.pair(), chain=str(disk.path / "chain.crt"))
    assert artefacts.chain not in plan(site(artefacts), candidate=made(ROOT.issue(NAME))).order.content


def test_without_a_key_file_only_a_certificate_for_the_same_key_fits(disk: SiteDisk) -> None:
    only = site(Artefacts(certificate=disk.write("site.crt", OLD.chain_pem())))
    assert grounds(only) == {Ground.KEY_MISMATCH}
    plan(only, candidate=made(ISSUING.issue(NAME, key=OLD.key), ISSUING))


class Denied(World):
    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_a_file_that_cannot_be_read_is_an_objection(disk: SiteDisk) -> None:
    refused = plan_replacement([site(disk.pair())], Candidates((CANDIDATE,)), Denied(), NOW)
    assert isinstance(refused, RefusedPlan)
    assert [each.ground for each in refused.objections] == [Ground.UNREADABLE, Ground.UNREADABLE]
    assert refused.objections[0].detail.endswith("site.crt: Permission denied")


def test_a_damaged_file_can_be_replaced(disk: SiteDisk) -> None:
    artefacts = disk.pair()
    disk.write("site.crt", b"\x00 -----BEGIN CERTIFICATE-----")
    disk.write("site.key", b"")
    plan(site(artefacts))


def test_what_is_worth_knowing_is_remarked(disk: SiteDisk) -> None:
    old = ISSUING.issue(NAME, "legacy.example.com")
    artefacts = disk.pair(old)
    disk.write("site.key", old.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    new = replace(good(key=KeyType.RSA2048), put_right=("the root was left out",))
    assert plan(site(artefacts), candidate=new).remarks == (
        "the root was left out",
        "web: names that are no longer covered: DNS:legacy.example.com",
        "web: the key changes from ec 256 to rsa 2048: a client that supports only ec is lost",
        "web: the private key on disk is encrypted, the new one will not be",
    )


def test_an_endpoint_that_nobody_answers_at_is_named_in_the_plan(disk: SiteDisk) -> None:
    dark = RehearsalStage(replace(ENDPOINT, name="web/mail"), (view(ROOT),))
    one = site(disk.pair())
    assert plan(replace(one, stages=(*one.stages, dark))).remarks == (
        "web: nobody answers there now, so what is served and who accepts it is not seen: web/mail",
    )


def test_the_keys_that_a_component_has_are_at_hand(disk: SiteDisk) -> None:
    assert keys_at_hand(Component("web", disk.pair()), World()) == (PrivateKey(OLD.key),)
    assert keys_at_hand(Component("web", Artefacts(key=str(disk.path / "none"))), World()) == ()


def activation(where: ComponentSite) -> Prepared | RefusedPlan:
    return plan_activation([where], World(), NOW)


def test_what_is_on_disk_is_activated_without_a_change(disk: SiteDisk) -> None:
    prepared = activation(site(disk.pair(NEW)))
    assert isinstance(prepared, Prepared)
    order = prepared.order
    assert (order.plan.kind, order.plan.components, order.plan.changes) == (Kind.ACTIVATE, ("web",), ())
    assert order.content == {}
    assert order.plan.serves[0].chains == ((value(NEW).sha256, value(ISSUING).sha256),)


def test_the_hash_of_an_activation_binds_what_is_to_be_served(disk: SiteDisk) -> None:
    hashes = set()
    for leaf in (OLD, NEW):
        prepared = activation(replace(site(disk.pair(leaf)), allow_shorter=True))
        assert isinstance(prepared, Prepared)
        hashes.add(prepared.order.plan.hash)
    assert len(hashes) == 2


def test_what_is_served_today_is_what_an_activation_takes_the_place_of(disk: SiteDisk) -> None:
    where = site(disk.pair(OLD), stage=RehearsalStage(ENDPOINT, (view(ROOT),), presented([NEW, ISSUING])))
    refused = activation(where)
    assert isinstance(refused, RefusedPlan)
    assert [each.ground for each in refused.objections] == [Ground.TOO_SHORT]
    assert isinstance(activation(replace(where, allow_shorter=True)), Prepared)


@pytest.mark.parametrize(
    ("certificate", "key", "ground"),
    [
        pytest.param(NEW.chain_pem(), OLD.key_pem(), Ground.UNUSABLE, id="half-copied pair"),
        pytest.param(NEW.chain_pem()[:500], NEW.key_pem(), Ground.UNUSABLE, id="half-copied file"),
        pytest.param(NEW.pem(), NEW.key_pem(), Ground.INCOMPLETE_CHAIN, id="no intermediate"),
        pytest.param(ISSUING.pem() + NEW.pem(), NEW.key_pem(), Ground.WRONG_ORDER, id="wrong order"),
        pytest.param(b"", NEW.key_pem() + NEW.chain_pem(), Ground.UNUSABLE, id="all in the key's file"),
        pytest.param(
            self_signed(NAME, key=NEW.key).pem(), NEW.key_pem(), Ground.NO_CLIENT_ACCEPTS, id="nobody's certificate"
        ),
    ],
)
def test_a_service_is_never_restarted_onto_a_set_that_does_not_hold(
    disk: SiteDisk, certificate: bytes, key: bytes, ground: Ground
) -> None:
    artefacts = disk.pair()
    disk.write("site.crt", certificate)
    disk.write("site.key", key)
    refused = activation(site(artefacts))
    assert isinstance(refused, RefusedPlan)
    assert ground in {each.ground for each in refused.objections}


def test_a_missing_file_is_not_activated(disk: SiteDisk) -> None:
    artefacts = disk.pair(NEW)
    (disk.path / "site.key").unlink()
    refused = activation(site(artefacts))
    assert isinstance(refused, RefusedPlan)
    assert {each.ground for each in refused.objections} == {Ground.UNREADABLE, Ground.UNUSABLE}


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((), {Ground.CLIENT_LOST}),
        (("portal",), {Ground.CLIENT_LOST}),
        (("browser",), set()),
        (("browser", "portal"), set()),
    ],
)
def test_the_certificate_of_an_installation_is_given_back_once_its_lost_clients_are_given_up(
    disk: SiteDisk, losses: tuple[str, ...], expected: set[Ground]
) -> None:
    """It vouches for itself, for one name: a reset to it was refused whatever was said."""
    default = self_signed(NAME)
    portal = view(ROOT, name="portal", names=("inside.example.com",), validates=False)
    stage = RehearsalStage(ENDPOINT, (view(ROOT), portal), SERVED)
    where = site(disk.pair(), stage=stage)
    artefacts = where.component.artefacts
    assert artefacts.certificate
    assert artefacts.key
    content = {artefacts.certificate: default.pem(), artefacts.key: default.key_pem()}
    waived = (Ground.NAMES_MISSING, Ground.NO_CLIENT_ACCEPTS)
    found = plan_rollback([where], content, World(), NOW, losses=losses, waived=waived)
    assert ({each.ground for each in found.objections} if isinstance(found, RefusedPlan) else set()) == expected
