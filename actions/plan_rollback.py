"""Planning a rollback by request: the files of a backup set are put back, byte for byte.

Only of a configuration file that somebody has edited since, the line alone is put right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from actions.candidate import Given, NoCandidate, read_candidate
from actions.choice import Choice
from actions.component_files import ComponentFiles, FileReader, held, password_of, writers_of
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.lines import edited_lines, had_no_chain, is_same_but_for_line
from actions.plan import Kind
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, conclude, read_sites
from actions.proposal import ComponentProposal, FilesCondition, standing_of
from config.model import Artefacts
from config.text import Printable, printable
from config.vocabulary import FileRole


def plan_rollback(
    sites: Sequence[ComponentSite],
    content: Mapping[str, bytes | None],
    reader: FileReader,
    now: float,
    *,
    losses: Collection[str] = (),
    as_candidates: Collection[str] = (),
    waived: Collection[Ground] = (),
    go_on: Callable[[], None] = lambda: None,
) -> Prepared | RefusedPlan:
    """Return the order that gives all `sites` the files of a backup set back, at Unix time `now`.

    `content` is by path, links followed; None is a file that there was not. The backup set must pass every check of a
    candidate, except for how long its certificate lasts; that of the components `as_candidates` must last, too.
    Objections on the grounds `waived` are remarks. `go_on` is as in `plan_replacement`.
    """
    lasting = [site if site.component.name in as_candidates else replace(site, allow_shorter=True) for site in sites]
    disk = read_sites(lasting, reader)
    if isinstance(disk, RefusedPlan):
        return disk
    missing = list(_missing(disk, content))
    if missing:
        detail = f"the backup set does not hold {printable(', '.join(missing))}"
        return RefusedPlan((Objection(Ground.UNREADABLE, detail),))
    proposals: list[ComponentProposal] = []
    objections: list[Objection] = []
    for site, files in disk:
        go_on()
        found = _proposed(site, files, content, reader, now)
        if isinstance(found, ComponentProposal):
            proposals.append(found)
        else:
            objections += found
    if objections:
        return RefusedPlan(tuple(objections))
    if not proposals:
        return RefusedPlan((Objection(Ground.NOTHING_TO_DO, "the files are those of the backup set already"),))
    return conclude(Kind.ROLLBACK, proposals, reader, now, losses, waived=waived)


def _missing(
    disk: Iterable[tuple[ComponentSite, ComponentFiles]], content: Mapping[str, bytes | None]
) -> Iterator[str]:
    """Yield each file, as it is declared, that a backup set lacks although it is needed."""
    for site, files in disk:
        for role, file in files.items():
            if content.get(file.path) is None and not _may_be_missing(role, files, site, content):
                yield file.given


def _may_be_missing(
    role: FileRole, files: ComponentFiles, site: ComponentSite, content: Mapping[str, bytes | None]
) -> bool:
    """Whether a backup set may lack a file: a configuration file is only edited, a chain may not have been there."""
    if role is not FileRole.CHAIN:
        return role.is_line
    artefacts = site.component.artefacts
    kept = {each: content.get(file.path) for each, file in files.items()}
    return bool(artefacts.lines) and (files[role].path in content or had_no_chain(artefacts, kept))


def _proposed(
    site: ComponentSite, files: ComponentFiles, content: Mapping[str, bytes | None], reader: FileReader, now: float
) -> ComponentProposal | tuple[Objection, ...]:
    """Return the proposal for one component, or the objections; no objection where it has these files already."""
    old: dict[FileRole, bytes | None] = {
        role: content.get(file.path) for role, file in files.items() if not role.is_line
    }
    lines, unedited = _lines(site.component.artefacts, files, content, old.get(FileRole.CHAIN), reader)
    old |= lines
    standing = standing_of(site, files, now)
    if old == held(files) and not unedited:
        return tuple(_still_dead(site, standing))
    given = [Given(files[role].given, data) for role, data in old.items() if data is not None and not role.is_line]
    made = read_candidate(given, password_of(files))
    if isinstance(made, NoCandidate):
        return (Objection(Ground.UNUSABLE, f"{site.component.name}: {made.detail}"),)
    candidate = replace(made, put_right=())
    return ComponentProposal(
        site=site,
        candidate=candidate,
        files=files,
        content=old,
        choice=Choice(candidate),
        standing=standing,
        unedited=unedited,
    )


def _lines(
    artefacts: Artefacts,
    files: ComponentFiles,
    content: Mapping[str, bytes | None],
    chain: bytes | None,
    reader: FileReader,
) -> tuple[dict[FileRole, bytes | None], tuple[Printable, ...]]:
    """Return the content of each configuration file, and why some of them are not edited."""
    after, unedited = edited_lines(artefacts, held(files), writers_of(files), reader, wanted=chain is not None)
    back: dict[FileRole, bytes] = {}
    for role, line in artefacts.line_of.items():
        kept = content.get(files[role].path)
        if kept is not None and is_same_but_for_line(line, kept, files[role].data):
            back[role] = kept
    return {**after, **back}, tuple(why for role, why in unedited.items() if role not in back)


def _still_dead(site: ComponentSite, standing: FilesCondition) -> Iterator[Objection]:
    """Yield why no server starts with the files on disk, where a backup set holds the same files."""
    for each in standing.faults if standing.is_dead else ():
        if each.certain:
            why = f"no server starts with {printable(each.target)}: {each.detail}; the backup set holds the same"
            yield Objection(Ground.UNUSABLE, f"{site.component.name}: {why}")
