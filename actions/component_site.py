"""A component as its plans see it: endpoints, clients, the demands of its policy on a candidate, and its last set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

from actions.plan import FileState
from actions.precheck import Issuers, nothing_given_up, nothing_revoked
from actions.rehearse import RehearsalStage
from actions.unseen import UnseenClient
from config.immutable import immutable
from config.model import Component
from probes.certificate import Certificate


@immutable
class LastSet:
    """The files of a component before they were broken, as far as they are known."""

    chain: tuple[Certificate, ...] = ()
    """The chain that a server presented of them, in that order."""
    keystore: bytes = field(repr=False, default=b"")
    states: Mapping[str, FileState] = field(default_factory=lambda: MappingProxyType({}))
    """By path: the state of each file."""
    committed: frozenset[str] = frozenset()
    """SHA-256 of the leaves that a transaction put into use last, hexadecimal: they may be newer."""


def _nothing_known() -> LastSet:
    return LastSet()


@immutable
class ComponentSite:
    """A component with its endpoints, and the demands of its policy on a candidate."""

    component: Component
    stages: tuple[RehearsalStage, ...] = ()
    """Its own endpoints with their clients, and the chains that they present today."""
    allowed_issuers: tuple[Issuers, ...] = ()
    allow_shorter: bool = False
    min_lifetime: float | None = None
    """Seconds for which a candidate must remain valid; None for the component's own demand."""
    last: Callable[[], LastSet] = _nothing_known
    """Returns the last set; called only where no server starts with the files on disk."""
    test_fails: Callable[[], bool] = lambda: False
    """Whether the service's configuration test fails now; called only where that decides something."""
    given_up: Callable[[Iterable[str]], str] = nothing_given_up
    """Returns that one of these keys was given up, as `JournalState.why_not` does."""
    revoked: Callable[[Sequence[Certificate]], str] = nothing_revoked
    """Returns that one of the certificates of a presented chain is revoked, a sentence; empty where none is."""
    compromised: Callable[[Sequence[Certificate]], str] = nothing_revoked
    """Returns that the leaf of a presented chain is revoked because its key is compromised, a sentence; else empty."""
    group: str = ""
    """The group of which it is a member, which is changed as one; empty for none."""
    unseen: tuple[UnseenClient, ...] = ()
    """The clients of its endpoints that validate by a trust store which nobody here can see."""

    @property
    def served(self) -> tuple[Certificate, ...]:
        """A chain that its endpoints present today; empty where none is known."""
        return next((shown.chain for stage in self.stages for shown in stage.served if shown.chain), ())
