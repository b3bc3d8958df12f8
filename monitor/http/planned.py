"""The schema of a plan and of its clients' verdicts, as commands print them and the console shows them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict

from actions.plan import Kind
from monitor.http.answers import Answer, CertificateAnswer


class Published(Answer):
    """Part of a document, which has nothing else."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")


class FileStateObject(Published):
    """A file as it is or shall be."""

    sha256: str
    """Empty where it may be a key and the daemon asks."""
    mode: int
    owner: int
    group: int


class ChangeObject(Published):
    """A file of a plan."""

    component: str
    path: str
    given: str
    """As it is configured, where symbolic links lead elsewhere."""
    before: FileStateObject | None
    after: FileStateObject | None
    """None where the file is removed."""
    in_place: bool
    """Written over rather than renamed onto."""
    says: str
    """Identifies the content of a keystore: its bytes are others in each plan."""
    changes: bool


class PlanCertificates(Published):
    """The server's certificate of a component, before and after."""

    component: str
    before: CertificateAnswer | None
    after: CertificateAnswer | None


class PlanCommand(Published):
    """A command that a plan runs."""

    component: str
    command: Sequence[str]


class PlanObject(Published):
    """A plan."""

    hash: str
    about: str
    """What it gives to which components, and who brought it."""
    candidate: str
    kind: Kind
    components: Sequence[str]
    group: str | None
    """The group that is changed; none where components are that make no group."""
    changes: Sequence[ChangeObject]
    certificates: Sequence[PlanCertificates]
    commands: Sequence[PlanCommand]
    expected_losses: Sequence[str]


class EffectObject(Published):
    """A client's verdicts on the chain of a plan, and on the chain that is served now."""

    client: str
    target: str
    accepts: bool | None
    why: str
    accepted_before: bool | None
    unvalidated: bool
    """It connects without validation."""
    unvalidated_before: bool
    lost: bool
