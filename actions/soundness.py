"""Whether a component's files are a set that its server can use, key included: whatever disk or backup they are on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actions.plan import Ill
from config.model import Artefacts, FileTarget
from config.vocabulary import FileRole
from probes.assess_set import SetFault, judge_use
from probes.set import reading_of


def faults_in(
    artefacts: Artefacts, held: Mapping[FileRole, bytes | None], password: bytes | None, now: float
) -> tuple[SetFault, ...]:
    """Return why no server could use files that hold this at Unix time `now`; None is a file that is not there.

    The target of each fault is the path as it is configured. `password` opens the keystore.
    """
    targets = [
        FileTarget(path, path, role, password_file=artefacts.password_file if role is FileRole.KEYSTORE else None)
        for role, path in artefacts.files.items()
    ]
    by_name = {artefacts.files[role]: data for role, data in held.items()}
    return judge_use(reading_of(targets, by_name, now, password), targets, now)


def ill_of(faults: Sequence[SetFault]) -> Ill | None:
    """Return what these faults amount to; None where there are none."""
    if any(each.certain for each in faults):
        return Ill.DEAD
    if any(each.explains_test for each in faults):
        return Ill.DOUBTFUL
    return Ill.EXPIRED if faults else None
