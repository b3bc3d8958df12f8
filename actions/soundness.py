"""Whether a server can use a component's files, key included: the one rule for files on disk and in backup sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actions.artefact import presented_by
from actions.lines import presentable
from actions.plan import Ill
from config.model import Artefacts, FileTarget
from config.vocabulary import FileRole
from probes.assess_set import SetFault, judge_use
from probes.certificate import Certificate
from probes.set import reading_of


def faults_in(
    artefacts: Artefacts, held: Mapping[FileRole, bytes | None], password: bytes | None, now: float
) -> tuple[SetFault, ...]:
    """Return why no server could use files with this content at Unix time `now`; None is a file that is missing.

    The target of each fault is the configured path. `password` opens the keystore. A configuration file that is missing
    is no fault: nothing is known of it then.
    """
    targets = [
        FileTarget(
            path,
            path,
            role,
            password_files=(artefacts.password_file,) if role is FileRole.KEYSTORE and artefacts.password_file else (),
            line=artefacts.line_of.get(role),
        )
        for role, path in artefacts.files.items()
    ]
    by_name = {artefacts.files[role]: data for role, data in held.items()}
    return judge_use(reading_of(targets, by_name, now, password), targets, now)


def usable_chain(
    artefacts: Artefacts, held: Mapping[FileRole, bytes | None], password: bytes | None, now: float
) -> tuple[Certificate, ...]:
    """Return the certificates that a server presents of such files, in order; empty where no server starts with them.

    A fault that is not certain counts for nothing here: an encrypted key, which only its server opens, a chain file
    that its server may not need, or an order that some servers put right. Only a handshake tells about these.
    """
    is_dead = ill_of(faults_in(artefacts, held, password, now)) is Ill.DEAD
    return () if is_dead else presented_by(presentable(artefacts, held), password)


def ill_of(faults: Sequence[SetFault]) -> Ill | None:
    """Return the worst that these faults mean; None where there are none."""
    if any(each.certain for each in faults):
        return Ill.DEAD
    if any(each.explains_test for each in faults):
        return Ill.DOUBTFUL
    return Ill.EXPIRED if faults else None
