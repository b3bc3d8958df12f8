"""The work on one request: the person behind it, the right, and the context."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, field, replace

from actions.component_site import ComponentSite
from actions.journal import Event, Record
from actions.journal_state import Ruling
from actions.transaction_state import TransactionContext
from config.immutable import immutable
from config.policy import Policy
from config.text import Printable, listed, printable, sentence
from monitor.actor.authority import Role, issuers_of, min_lifetime_of
from monitor.actor.context import ActorContext
from monitor.actor.handed import CandidateFiles
from monitor.actor.meanwhile import SeenState
from monitor.actor.pace import Pace
from monitor.actor.sightings import Sightings


@immutable
class Work:
    """The work on one request."""

    context: ActorContext
    by: str
    """The user who asks, for the record; printable."""
    told: Callable[[Record], None] = lambda _record: None
    """Is called with each step of a transaction."""
    stopping: Callable[[], bool] = lambda: False
    """Whether this process was told to end."""
    _: KW_ONLY
    files: CandidateFiles | None = None
    """The candidate of a replacement; None where it is in the inboxes."""
    role: Role = Role.OPERATOR
    """An operator has a plan carried out; the daemon only where a policy calls for it now, by the actor's own looks."""
    approval: Ruling | None = None
    """The approval of the plan that the daemon has carried out; None where no person approved it."""
    sightings: Sightings = field(default_factory=Sightings)
    """Since when the actor has seen the present facts."""
    services_run: bool = True
    """Services run, so that recovery can start and reload them."""
    pace: Pace = field(default_factory=Pace)
    """The recent costs of the daemon's requests."""
    waits: Callable[[Printable], None] = lambda _act: None
    """Receives the act that the request waits for."""
    has_left: Callable[[], bool] = lambda: False
    """Whether the user has closed the connection."""
    uid: int = field(default_factory=os.geteuid)
    """The number of the user who asks."""
    seen: SeenState | None = None
    """The state of the components when a person asked, before the turn came; None for the state when the work began."""

    waits_for_approval: bool = False
    """The plan is to be carried out later, by the daemon."""

    @property
    def attended(self) -> bool:
        """Whether a person asks and waits for the end."""
        return self.role is Role.OPERATOR

    @property
    def may_use_folders(self) -> bool:
        """Whether sets of another program's folder count: nothing that is carried out unattended names or chooses one.

        Whoever may write into such a folder would else choose what the daemon installs.
        """
        return self.is_own_command

    @property
    def is_own_command(self) -> bool:
        """Whether a person's own command has this done now: neither the daemon nor a policy has a hand in it."""
        return self.attended and not self.waits_for_approval

    def site_for_candidate(
        self, name: str, *, allow_shorter: bool = False, policy: Policy | None = None
    ) -> ComponentSite:
        """Return a component that is to be given a candidate; `policy` is the one that calls for it, where known."""
        config = self.context.config
        component = config.components[name]
        by_policy = policy is not None or not self.attended
        return self.context.site(
            name,
            issuers_of(config, component, policy),
            allow_shorter=allow_shorter,
            min_lifetime=min_lifetime_of(config, component, policy) if by_policy else None,
            attended=self.attended,
        )

    @property
    def transaction(self) -> TransactionContext:
        """The context of a transaction for this request."""
        return replace(self.context.transaction, attended=self.attended, told=self.told, stopping=self.stopping)

    def asks_too_often(self, components: Sequence[str]) -> Printable | None:
        """Say that the daemon has had too much written about one of these components lately; None where it has not."""
        wait = 0.0 if self.attended else self.pace.wait(components, self.context.world)
        if not wait:
            return None
        about = listed(map(printable, components))
        return sentence(
            "too much was asked about {} within the hour: an operator may ask, the daemon in {:.0f} s", about, wait
        )

    def note(self, event: Event, about: Sequence[str] = (), **data: object) -> None:
        """Append a record to the journal; `about` are the components for which it counts against the daemon's pace.

        Raises JournalError.
        """
        record = Record(self.context.world.now(), "", event, data)
        self.context.transaction.journal.append(record)
        if not self.attended:
            self.pace.add(about, self.context.world)
        self.told(record)
