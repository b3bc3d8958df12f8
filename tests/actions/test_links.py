"""No lesser user chooses which file is read, changed or shut: neither by a link, nor by a name taken beforehand."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actions import target
from actions.component_files import keys_at_hand, keys_in_use, read_password, shared_paths
from actions.ending import Cause, Ground, Outcome
from actions.plan import Change, Order
from actions.target import obstacle, state
from actions.transaction import transact
from actions.world import World
from config.model import Artefacts, Component
from probes.opening import RefusedError
from tests.kit.component_site import SiteDisk, grounds, plan, site
from tests.kit.scene import Scene, after

SITE = 64_001
"""The user of a service."""
HERS = b"of another component"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY_ELSE: frozenset[int] = frozenset()


@pytest.fixture
def alpha(room: Path) -> SiteDisk:
    """Return the files of another component, which are root's."""
    return SiteDisk(room / "alpha")


@pytest.fixture
def web(room: Path) -> SiteDisk:
    """Return the files of the component that is attacked."""
    return SiteDisk(room / "web")


def laid(link: Path | str, to: Path | str, owner: int) -> str:
    Path(link).unlink(missing_ok=True)
    os.symlink(to, link)
    os.chown(link, owner, owner, follow_symlinks=False)
    return str(link)


def change_of(given: str, *, in_place: bool = False) -> Change:
    path = os.path.realpath(given)
    before = state(World(), path)
    return Change("web", path, before, after(before, b"new"), given if given != path else "", in_place)


@as_root
@pytest.mark.parametrize("kind", ["the file", "a directory on its way"])
def test_a_link_of_the_service_to_another_components_file_is_followed_nowhere(
    alpha: SiteDisk, web: SiteDisk, kind: str
) -> None:
    """The hash of a file of root's, its keys and what is put into its place were the service's to choose."""
    hers, _ = alpha.pair(), web.pair()
    assert hers.certificate
    assert hers.key
    if kind == "the file":
        certificate = laid(web.path / "site.crt", hers.certificate, SITE)
        key = laid(web.path / "site.key", hers.key, SITE)
    else:
        way = laid(web.path / "way", alpha.path, SITE)
        certificate, key = f"{way}/site.crt", f"{way}/site.key"
    mine = Artefacts(certificate, key)
    assert grounds(site(mine)) == {Ground.UNREADABLE}
    assert keys_at_hand(Component("web", mine, ()), World()) == ()
    with pytest.raises(RefusedError):
        keys_in_use(site(mine), World())
    with pytest.raises(RefusedError):
        read_password(key, World())
    with pytest.raises(RefusedError):
        World().resolve(key)
    why = obstacle(World(), change_of(key), NOBODY_ELSE)
    assert why is not None
    assert f"belongs to user {SITE}, not to root" in why


@as_root
def test_a_transaction_refuses_a_file_behind_a_link_of_its_service(room: Path) -> None:
    scene = Scene(f"{room}/s", components=("alpha", "web"))
    link = laid(f"{room}/current", f"{room}/s/web", SITE)
    order = scene.order()
    changes = tuple(
        replace(each, given=f"{link}/{os.path.basename(each.path)}") if each.component == "web" else each
        for each in order.plan.changes
    )
    ending = transact(scene.context(), Order(replace(order.plan, changes=changes), order.content))
    assert (ending.outcome, ending.cause) == (Outcome.REFUSED, Cause.TARGET)
    assert f"belongs to user {SITE}" in ending.sentence


@as_root
def test_a_way_that_is_changed_after_it_was_resolved_leads_to_no_other_file(alpha: SiteDisk, web: SiteDisk) -> None:
    key = alpha.write("site.key", HERS)
    (web.path / "sub").mkdir()
    path = f"{web.path}/sub/site.key"
    Path(path).write_bytes(b"old")
    resolved = World().resolve(path)
    (web.path / "sub").rename(web.path / "gone")
    laid(web.path / "sub", alpha.path, SITE)
    for look in (World().read, World().open):
        with pytest.raises(RefusedError):
            look(resolved)
    assert Path(key).read_bytes() == HERS


@as_root
@pytest.mark.parametrize("owner", [0, SITE])
def test_links_of_root_and_of_whoever_has_the_file_are_followed(alpha: SiteDisk, web: SiteDisk, owner: int) -> None:
    """As those of certbot, from live to archive."""
    theirs = alpha.pair()
    assert theirs.certificate
    assert theirs.key
    for path in (theirs.certificate, theirs.key):
        os.chown(path, owner, owner)
    links = Artefacts(
        laid(web.path / "a.crt", "../alpha/site.crt", owner), laid(web.path / "a.key", "../alpha/site.key", owner)
    )
    order = plan(site(links)).order
    assert [each.path for each in order.plan.changes] == [theirs.certificate, theirs.key]
    assert [obstacle(World(), each, NOBODY_ELSE) for each in order.plan.changes] == [None, None]


@as_root
def test_a_user_who_acts_on_his_own_links_and_files_may(room: Path) -> None:
    home = SiteDisk(room / "home")
    home.pair()
    os.symlink("site.crt", home.path / "link.crt")
    for each in (room, home.path, *home.path.iterdir()):
        os.chown(each, SITE, SITE, follow_symlinks=False)
    os.seteuid(SITE)
    try:
        link = str(home.path / "link.crt")
        assert World().resolve(link) == f"{home.path}/site.crt"
        assert obstacle(World(), change_of(link), NOBODY_ELSE) is None
    finally:
        os.seteuid(0)


@as_root
def test_a_link_of_roots_in_a_directory_of_a_lesser_user_is_no_way_to_a_file_of_roots(
    alpha: SiteDisk, web: SiteDisk
) -> None:
    link = laid(web.path / "site.crt", alpha.write("site.crt", HERS), 0)
    assert obstacle(World(), change_of(link), NOBODY_ELSE) is None
    os.chown(web.path, SITE, SITE)
    why = obstacle(World(), change_of(link), NOBODY_ELSE)
    assert why == f"{alpha.path}/site.crt: a symbolic link leads to it, and {web.path} can be changed by a lesser user"


def test_a_link_to_a_file_of_a_component_that_is_not_asked_for_is_an_objection(alpha: SiteDisk, web: SiteDisk) -> None:
    hers, mine = alpha.pair(), web.pair()
    assert mine.key
    os.unlink(mine.key)
    os.symlink(f"{alpha.path}/site.key", mine.key)
    components = {"alpha": Component("alpha", hers, ()), "web": Component("web", mine, ())}
    for name, other in (("web", "alpha"), ("alpha", "web")):
        (found,) = shared_paths([name], components, World())
        assert found.ground is Ground.PATH_SHARED
        assert found.detail == f"{alpha.path}/site.key is a file of {other}, too"
    assert list(shared_paths(["alpha", "web"], components, World())) == []


@pytest.mark.parametrize("mode", [0o1775, 0o1777, 0o775])
def test_a_directory_in_which_others_may_make_files_is_refused_sticky_or_not(room: Path, mode: int) -> None:
    scene = Scene(f"{room}/s")
    os.chmod(f"{room}/s/web", mode)
    ending = scene.replace()
    assert (ending.outcome, ending.cause) == (Outcome.REFUSED, Cause.TARGET)
    assert f"{room}/s/web can be changed by a lesser user" in ending.sentence


@pytest.mark.parametrize("lay", [os.link, os.symlink], ids=["a second name", "a symbolic link"])
def test_what_takes_the_name_of_the_file_that_is_kept_is_not_shut(
    room: Path, lay: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a file and the change of its mode."""
    scene = Scene(f"{room}/s")
    (change,) = (each for each in scene.order().plan.changes if each.path == scene.certificate("web"))
    victim = f"{room}/victim"
    Scene.write(victim, HERS, 0o644)
    aside = target.sidecar(change, "tx")
    os.link(change.path, aside)
    os.unlink(change.path)
    Scene.write(change.path, b"GOOD new", 0o644)

    class TakenByLink(World):
        def open(self, path: str) -> int:
            os.unlink(path)
            lay(victim, path)
            return super().open(path)

    target.keep_aside(TakenByLink(), change, "tx")
    assert stat.S_IMODE(os.stat(victim).st_mode) == 0o644


def test_a_file_that_is_kept_is_shut_unless_it_has_a_name_elsewhere(room: Path) -> None:
    scene = Scene(f"{room}/s")
    for elsewhere, mode in ((False, 0o600), (True, 0o644)):
        (change,) = (each for each in scene.order().plan.changes if each.path == scene.certificate("web"))
        aside = target.sidecar(change, f"tx{elsewhere}")
        os.link(change.path, aside)
        if elsewhere:
            os.link(change.path, f"{room}/elsewhere")
        os.unlink(change.path)
        Scene.write(change.path, b"GOOD new", 0o644)
        target.keep_aside(World(), change, f"tx{elsewhere}")
        assert stat.S_IMODE(os.stat(aside).st_mode) == mode


@pytest.mark.parametrize("in_place", [False, True])
def test_staged_bytes_that_are_no_longer_those_of_the_plan_are_not_put_to_use(room: Path, in_place: bool) -> None:
    scene = Scene(f"{room}/s", in_place=in_place)
    (change,) = (each for each in scene.order().plan.changes if each.path == scene.certificate("web"))
    new = b"GOOD new certificate\n" * 7
    target.stage(World(), change, "tx", new)
    Path(target.staged(change, "tx")).write_bytes(HERS)
    with pytest.raises(target.ThirdPartyError):
        target.switch(World(), change, "tx")
    assert state(World(), change.path) == change.before


def test_the_file_that_is_written_over_is_the_one_that_was_looked_at(room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True)
    (change,) = (each for each in scene.order().plan.changes if each.path == scene.certificate("web"))
    target.stage(World(), change, "tx", b"GOOD new certificate\n" * 7)
    victim = f"{room}/victim"
    Scene.write(victim, HERS)

    class TakenByFile(World):
        def open(self, path: str) -> int:
            if path == change.path:
                os.rename(victim, path)
            return super().open(path)

    with pytest.raises(target.ThirdPartyError):
        target.switch(TakenByFile(), change, "tx")
    assert Path(change.path).read_bytes() == HERS


@as_root
def test_a_file_of_another_owner_is_not_written_over_when_the_old_one_is_put_back(room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True, new={"web": b"GOOD no java"})
    victim = f"{room}/victim"
    Scene.write(victim, HERS)
    os.chown(victim, SITE, SITE)

    class TakenLater(World):
        opened = 0

        def open(self, path: str) -> int:
            if path == scene.certificate("web"):
                self.opened += 1
                if self.opened > 1 and os.path.exists(victim):
                    os.rename(victim, path)
            return super().open(path)

    assert scene.replace(TakenLater()).outcome is Outcome.FROZEN
    assert (Path(scene.certificate("web")).read_bytes(), os.stat(scene.certificate("web")).st_uid) == (HERS, SITE)
