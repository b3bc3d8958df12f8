"""Planning a rollback by request: the files of a backup set are put back, byte for byte."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from actions.candidate import Given, NoCandidate, read_candidate
from actions.choice import Choice
from actions.component_files import FileReader, held, password_of
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.plan import Kind
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, conclude, read_sites
from actions.proposal import ComponentProposal, FilesCondition, standing_of
from config.text import printable


def plan_rollback(
    sites: Sequence[ComponentSite],
    content: Mapping[str, bytes],
    reader: FileReader,
    now: float,
    *,
    losses: Collection[str] = (),
) -> Prepared | RefusedPlan:
    """Return the order that gives all `sites` the files of a backup set back, at Unix time `now`.

    `content` is by path, links followed. The backup set must pass every check of a candidate, except for how long its
    certificate lasts.
    """
    disk = read_sites([replace(site, allow_shorter=True) for site in sites], reader)
    if isinstance(disk, RefusedPlan):
        return disk
    missing = [file.given for _, files in disk for file in files.values() if file.path not in content]
    if missing:
        detail = f"the backup set does not hold {printable(', '.join(missing))}"
        return RefusedPlan((Objection(Ground.UNREADABLE, detail),))
    proposals: list[ComponentProposal] = []
    objections: list[Objection] = []
    for site, files in disk:
        old = {role: content[file.path] for role, file in files.items()}
        standing = standing_of(site, files, now)
        if old == held(files):
            objections += _still_dead(site, standing)
            continue
        made = read_candidate([Given(file.given, old[role]) for role, file in files.items()], password_of(files))
        if isinstance(made, NoCandidate):
            objections.append(Objection(Ground.UNUSABLE, f"{site.component.name}: {made.detail}"))
            continue
        candidate = replace(made, put_right=())
        proposals.append(
            ComponentProposal(
                site=site,
                candidate=candidate,
                files=files,
                content=old,
                choice=Choice(candidate),
                standing=standing,
            )
        )
    if objections:
        return RefusedPlan(tuple(objections))
    if not proposals:
        return RefusedPlan((Objection(Ground.NOTHING_TO_DO, "the files are those of the backup set already"),))
    return conclude(Kind.ROLLBACK, proposals, reader, now, losses)


def _still_dead(site: ComponentSite, standing: FilesCondition) -> Iterator[Objection]:
    """Yield why no server starts with the files on disk, where a backup set holds the same files."""
    for each in standing.faults if standing.is_dead else ():
        if each.certain:
            why = f"no server starts with {printable(each.target)}: {each.detail}; the backup set holds the same"
            yield Objection(Ground.UNUSABLE, f"{site.component.name}: {why}")
