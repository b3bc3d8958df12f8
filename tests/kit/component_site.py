"""The directory of a component with the old set in it, and the plan that replaces this set."""

from __future__ import annotations

from pathlib import Path

from actions.candidate import Candidate, Candidates
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.plan_replacement import plan_replacement
from actions.prepare import Prepared, RefusedPlan
from actions.rehearse import RehearsalStage
from actions.world import World
from config.model import Artefacts, Component
from monitor.lab.ca import DAY, Issued, KeyType
from tests.kit.candidates import ENDPOINT, ISSUING, NAME, NOW, ROOT, made, presented, view

OLD = ISSUING.issue(NAME, not_before=NOW - 70 * DAY, not_after=NOW + 20 * DAY, key=KeyType.P256)


NEW = ISSUING.issue(NAME, key=KeyType.P384)


CANDIDATE = made(NEW, ISSUING)


SERVED = presented([OLD, ISSUING])


class SiteDisk:
    """A component's directory, with the old set in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, name: str, data: bytes, mode: int = 0o640) -> str:
        file = self.path / name
        file.write_bytes(data)
        file.chmod(mode)
        return str(file)

    def pair(self, leaf: Issued = OLD) -> Artefacts:
        return Artefacts(
            certificate=self.write("site.crt", leaf.chain_pem(), 0o644), key=self.write("site.key", leaf.key_pem())
        )


def site(artefacts: Artefacts, name: str = "web", stage: RehearsalStage | None = None) -> ComponentSite:
    stage = stage or RehearsalStage(ENDPOINT, (view(ROOT),), SERVED)
    return ComponentSite(Component(name, artefacts, (stage.endpoint.name,)), (stage,))


def plan(*sites: ComponentSite, candidate: Candidate = CANDIDATE, losses: tuple[str, ...] = ()) -> Prepared:
    prepared = plan_replacement(sites, Candidates((candidate,)), World(), NOW, losses=losses)
    assert isinstance(prepared, Prepared), prepared
    return prepared


def grounds(*sites: ComponentSite, candidate: Candidate = CANDIDATE) -> set[Ground]:
    refused = plan_replacement(sites, Candidates((candidate,)), World(), NOW)
    assert isinstance(refused, RefusedPlan)
    return {each.ground for each in refused.objections}
