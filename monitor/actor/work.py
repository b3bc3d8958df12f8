"""The actor's work: a request becomes a plan, a transaction or an answer; here whoever asks may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from enum import StrEnum
from typing import Final

from actions import backup
from actions.backup import BackupError, BackupSet
from actions.candidate import Candidates, Flaw, Given, NoCandidate, PrivateKey, identities, read_candidates
from actions.component_files import (
    WITH_KEY,
    keys_at_hand,
    keys_in_use,
    keys_of_set,
    read_password,
    set_on_disk,
    shared_paths,
)
from actions.component_site import ComponentSite
from actions.ending import Cause, Ending, Ground, Outcome
from actions.inbox import Inbox, InboxUnsafe, empty, open_inbox
from actions.journal import Event, Record
from actions.journal_state import ActionRequest, GivenUp, JournalState, Proposal, Ruling, cases_of
from actions.late import Compared, look_again
from actions.lock import Busy
from actions.plan import Ill, Kind, Plan, candidate_of
from actions.plan_activation import plan_activation
from actions.plan_replacement import plan_replacement
from actions.plan_rollback import plan_rollback
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, Remainder
from actions.recover import KeptPaths, NotWhole, left_to_others, recover, thaw
from actions.refusal import refusal
from actions.target import obstacle
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from config.model import Config
from config.policy import Policy
from config.text import printable
from monitor.actor.authority import issuers_of, min_lifetime_of
from monitor.actor.contested import changed_since, contested
from monitor.actor.context import ActorContext
from monitor.actor.documents import (
    busy_document,
    cannot,
    endings_document,
    late_document,
    made_document,
    set_document,
    waiting_document,
    without_keys,
)
from monitor.actor.evidence import Look, circumstances, look_at, situation_of, unproven
from monitor.actor.pace import Pace
from monitor.actor.request import Document, Request, Verb
from monitor.actor.sightings import Sightings
from monitor.decide.leave import Leave, joins, leave
from monitor.decide.situation import Said, Situation
from probes.judge.time import moment

DEFAULT_SET = "default"
MOST_PLANS: Final = 8
"""Plans of one kind that wait for a person, for one component."""
_GONE: Final = frozenset({Ground.NOTHING_TO_DO, Ground.EMPTY_INBOX})
"""Grounds by which a plan that waits is no longer wanted."""


@dataclass(frozen=True, slots=True)
class CandidateFiles:
    """Files that somebody hands over, rather than puts in an inbox."""

    files: tuple[Given, ...] = field(repr=False)
    password: bytes | None = field(default=None, repr=False)


class Bound(StrEnum):
    """What holds whoever has something carried out."""

    NOT = "not"
    """A person does it."""
    APPROVED = "approved"
    """A person has approved the plan: it is done once a policy would have that done now, by what the actor sees."""
    LEAVE = "leave"
    """No person has seen it: a policy has it done now, by what the actor sees."""


@dataclass(frozen=True, slots=True)
class Work:
    """One request's work: at a bench, on somebody's behalf."""

    context: ActorContext
    by: str
    """Who asks, for the record; printable."""
    told: Callable[[Record], None] = lambda _record: None
    """Hears of each step of a transaction."""
    stopping: Callable[[], bool] = lambda: False
    _: KW_ONLY
    bound: Bound = Bound.NOT
    sightings: Sightings = field(default_factory=Sightings)
    """Since when the actor has seen what it sees."""
    live: bool = True
    """Whether services run, so that recovery can put them right, too."""
    attended: bool = True
    """A person asks, rather than the daemon."""
    pace: Pace = field(default_factory=Pace)
    """What the daemon's requests have caused lately."""

    def answer(self, request: Request, handed: CandidateFiles | None = None) -> Document:
        """Do what is asked for; `handed` stands in for the inboxes.

        Raises JournalError, BackupError and OSError where what is kept cannot be used.
        """
        if (wrong := unusable(self.context.config, request.names) or self._too_often(request)) is not None:
            return cannot(wrong)
        match request:
            case Request(verb=Verb.PLAN, action=ActionRequest() as action):
                made = self._held_back(self._make(action, handed)[0], action)
                return {**self._shown(self._rehearsed(made)), **self._contested(action), **self._beside(action)}
            case Request(verb=Verb.PROPOSE, action=ActionRequest() as action):
                return self._propose(action)
            case Request(verb=Verb.CARRY_OUT, action=ActionRequest() as action):
                return self._carry_out(request, action, handed)
            case Request(verb=Verb.APPROVE | Verb.REJECT):
                return self._word(request)
            case Request(verb=Verb.RECOVER):
                return self._recover(request)
            case Request(verb=Verb.BACKUPS):
                return self._backups(request.components)
            case _:
                return cannot(f"'{request.verb}' is answered only by an actor that runs")

    def _too_often(self, request: Request) -> str | None:
        """Say that the daemon has had too much written about one of the components lately; None where it has not."""
        if self.attended or request.verb not in {Verb.PROPOSE, Verb.CARRY_OUT}:
            return None
        if not (wait := self.pace.wait(request.names, self.context.world)):
            return None
        about = ", ".join(request.names)
        return f"too much was asked about {about} within the hour: an operator may ask, the daemon in {wait:.0f} s"

    @property
    def _waits(self) -> bool:
        """Whether a person waits for the end: who approved a plan is gone by the time that it is carried out."""
        return self.attended and self.bound is Bound.NOT

    def _journal_state(self) -> JournalState:
        return JournalState.of(self.context.transaction.journal.records())

    def _shown(self, made: Prepared | RefusedPlan | str) -> Document:
        if isinstance(made, str):
            return cannot(made)
        document = made_document(made, self.context.transaction.services)
        return document if self.attended else without_keys(document, self._files_with_keys())

    def _files_with_keys(self) -> frozenset[str]:
        files = (each.artefacts.files for each in self.context.config.components.values())
        return frozenset(printable(each[role]) for each in files for role in WITH_KEY if role in each)

    def _make(
        self, action: ActionRequest, handed: CandidateFiles | None = None, policy: Policy | None = None
    ) -> tuple[Prepared | RefusedPlan | str, tuple[Inbox, ...]]:
        """Return the plan, or why there is none, and the inboxes that it was made from."""
        context, now = self.context, self.context.world.now()
        if objections := self._led_astray(action):
            return RefusedPlan(objections), ()
        if action.kind is Kind.REPLACE:
            return self._make_replacement(action, handed, policy)
        if action.kind is Kind.ACTIVATE:
            sites = [context.site(name, allow_shorter=action.allow_shorter) for name in action.components]
            return plan_activation(sites, context.world, now, losses=action.losses), ()
        if len(action.components) > 1 and action.backup_set in {"", DEFAULT_SET}:
            return "a rollback of several components names the transaction that changed them as one", ()
        content: dict[str, bytes] = {}
        passed_over: list[str] = []
        for name in action.components:
            chosen = _chosen(context, name, action.backup_set)
            if not isinstance(chosen, _Chosen):
                return chosen, ()
            for each in chosen.sets:
                content.update(backup.content(context.world, context.transaction.backups, each))
            passed_over += chosen.passed_over
        sites = [context.site(name) for name in action.components]
        made = plan_rollback(sites, content, context.world, now, losses=action.losses)
        return (replace(made, remarks=(*passed_over, *made.remarks)) if isinstance(made, Prepared) else made), ()

    def _led_astray(self, action: ActionRequest) -> tuple[Objection, ...]:
        """Return why the files to which the paths of these components lead are not to be touched."""
        try:
            return tuple(shared_paths(action.components, self.context.config.components, self.context.world))
        except OSError as error:
            why = f"{error.filename}: {error.strerror or 'it cannot be examined'}"
            return (Objection(Ground.UNREADABLE, printable(why)),)

    def _make_replacement(
        self, action: ActionRequest, handed: CandidateFiles | None, policy: Policy | None
    ) -> tuple[Prepared | RefusedPlan | str, tuple[Inbox, ...]]:
        context = self.context
        inboxes: tuple[Inbox, ...] = ()
        if handed is None:
            opened = [open_inbox(context.world, context.inbox(name)) for name in action.components]
            for each in opened:
                if isinstance(each, InboxUnsafe):
                    return RefusedPlan((Objection(Ground.INBOX_UNSAFE, each.detail),)), ()
            inboxes = tuple(each for each in opened if isinstance(each, Inbox))
            # The same file may have been put into several.
            handed = CandidateFiles(tuple({each.data: each for inbox in inboxes for each in inbox.given()}.values()))
            if not handed.files:
                where = ", ".join(printable(context.inbox(name)) for name in action.components)
                return RefusedPlan((Objection(Ground.EMPTY_INBOX, f"there is no candidate in {where}"),)), inboxes
        at_hand = [
            key for name in action.components for key in keys_at_hand(context.config.components[name], context.world)
        ]
        candidates = self._candidates(action, handed, at_hand)
        if isinstance(candidates, NoCandidate):
            objection = Objection(Ground.NO_CANDIDATE, f"{candidates.flaw}: {candidates.detail}")
            return RefusedPlan((objection,)), inboxes
        sites = [self._site(name, action, policy) for name in action.components]
        if action.key_compromised:
            sites = self._without_their_keys(sites)
        quarantined = self._journal_state().quarantined
        made = plan_replacement(
            sites, candidates, context.world, context.world.now(), losses=action.losses, quarantined=quarantined
        )
        grounds = {each.ground for each in made.objections} if isinstance(made, RefusedPlan) else set()
        if action.key_compromised and Ground.NOTHING_TO_DO in grounds:
            why = "that certificate is installed already, and its key is the one to be given up: it takes a new key"
            return RefusedPlan((Objection(Ground.KEY_GIVEN_UP, why),)), inboxes
        return made, inboxes

    def _site(self, name: str, action: ActionRequest, policy: Policy | None) -> ComponentSite:
        """Return a component that is to be given a candidate."""
        config = self.context.config
        component = config.components[name]
        by_policy = policy is not None or not self._waits
        return self.context.site(
            name,
            issuers_of(config, component, policy),
            allow_shorter=action.allow_shorter,
            min_lifetime=min_lifetime_of(config, component, policy) if by_policy else None,
            attended=self._waits,
        )

    def _candidates(
        self, action: ActionRequest, handed: CandidateFiles, at_hand: Sequence[PrivateKey]
    ) -> Candidates | NoCandidate:
        """Return what the files make; a keystore without a password is tried with the components' own."""
        made = read_candidates(handed.files, handed.password, at_hand)
        for name in action.components if handed.password is None else ():
            path = self.context.config.components[name].artefacts.password_file
            if path is None or not (isinstance(made, NoCandidate) and made.flaw is Flaw.KEY_ENCRYPTED):
                continue
            # That it cannot be read is said where the keystore on disk is read.
            with suppress(OSError):
                opened = read_candidates(handed.files, read_password(path, self.context.world), at_hand)
                if isinstance(opened, Candidates):
                    return opened
        return made

    def _without_their_keys(self, sites: Sequence[ComponentSite]) -> list[ComponentSite]:
        """Return the sites as they are once the keys that they use are given up; raises OSError."""
        journal_state, now = self._journal_state(), self.context.world.now()
        for site in sites:
            for key in keys_in_use(site, self.context.world):
                journal_state.given_up.setdefault(key, GivenUp(self.by, now, (site.component.name,)))
        return [replace(site, given_up=journal_state.why_not) for site in sites]

    def _give_up(self, action: ActionRequest, why: str) -> dict[str, list[str]]:
        """Note that the keys in use are compromised, from now on; return them by component.

        That stands whatever becomes of the replacement. Raises OSError.
        """
        found = {name: keys_in_use(self.context.site(name), self.context.world) for name in action.components}
        known = self._journal_state().given_up
        for name, keys in found.items():
            if new := sorted(keys - known.keys()):
                self._note(Event.KEY_GIVEN_UP, keys=new, components=[name], by=self.by, reason=printable(why))
        return {name: sorted(keys) for name, keys in found.items()}

    def _propose(self, action: ActionRequest) -> Document:
        made, inboxes = self._make(action)
        made = self._without_what_is_so(made)
        if isinstance(made, RefusedPlan):
            # As after a crash between the end of a transaction and this, too.
            self._clear_away(made, inboxes, action)
        made = self._held_back(made, action)
        if isinstance(made, Prepared):
            made = self._put_up(made, action)
        return {**self._shown(made), **self._contested(action)}

    def _put_up(self, made: Prepared, action: ActionRequest) -> Prepared | RefusedPlan:
        """Have a plan wait for a person, beside those that wait already; return it, or why there is no room for it."""
        plan = made.order.plan
        # So that what it is to last for counts from now on.
        self._see(made, action)
        if plan.hash in self._journal_state().proposals:
            return made
        # By its plan, lest the same plan be wished for in many ways.
        action = replace(action, losses=plan.expected_losses)
        if (full := self._make_room(plan, action)) is not None:
            return RefusedPlan((full,), made.effects)
        case = self._case(made, action)
        shown = _told_apart(made, case)
        self._note(
            Event.PROPOSED, plan.components, hash=plan.hash, action=action.to_json(), by=self.by, case=case, shown=shown
        )
        return made

    def _make_room(self, plan: Plan, action: ActionRequest) -> Objection | None:
        """Withdraw a plan that is by now another one where too many wait; return an objection where none is."""
        for name in plan.components:
            journal_state, now = self._journal_state(), self.context.world.now()
            waiting = [
                each
                for each in journal_state.proposals.values()
                if each.action.kind is action.kind and name in each.action.components
            ]
            if len(waiting) < MOST_PLANS:
                continue
            outdated = (each for each in waiting if not _holds(journal_state, each, now) and not self._is_still(each))
            if (one := next(outdated, None)) is None:
                what = f"{len(waiting)} plans for a {action.kind} of {name} wait already: approve or reject one of them"
                return Objection(Ground.TOO_MANY_PLANS, what)
            why = "what would be done is by now another plan, and newer ones wait"
            self._note(
                Event.WITHDRAWN,
                one.action.components,
                hash=one.plan,
                action=one.action.to_json(),
                by=self.by,
                reason=why,
            )
        return None

    def _is_still(self, proposal: Proposal) -> bool:
        """Whether what was proposed would be done by the same plan now."""
        made, _ = self._make(proposal.action)
        return isinstance(made, Prepared) and made.order.plan.hash == proposal.plan

    def _case(self, made: Prepared, action: ActionRequest) -> dict[str, str]:
        """Return with what a plan does it, by component, as in `Case`."""
        if action.kind is not Kind.ROLLBACK:
            return {name: new.sha256 for name, (_, new) in made.leaves.items()}
        if action.backup_set:
            return dict.fromkeys(made.order.plan.components, action.backup_set)
        found = {name: _chosen(self.context, name, "") for name in made.order.plan.components}
        return {name: one.sets[-1].transaction for name, one in found.items() if isinstance(one, _Chosen)}

    def _no(self, made: Prepared, action: ActionRequest) -> Objection | None:
        """Return that a person does not want done what a plan does, by whatever plan."""
        word = self._journal_state().no_to(cases_of(action.kind, self._case(made, action)))
        if word is None:
            return None
        because = f": {word.why}" if word.why else ""
        return Objection(Ground.REJECTED, f"this {action.kind} was rejected by {word.by}{because}")

    def _beside(self, action: ActionRequest) -> Document:
        """Return the plans that wait for one of these components, as a part of an answer."""
        journal_state, names = self._journal_state(), set(action.components)
        waiting = [each for each in journal_state.proposals.values() if names & set(each.action.components)]
        return {"waiting": [waiting_document(each, journal_state) for each in waiting]} if waiting else {}

    def _without_what_is_so(self, made: Prepared | RefusedPlan | str) -> Prepared | RefusedPlan | str:
        """Return the plan, unless it only has a service serve what every endpoint serves already."""
        if not isinstance(made, Prepared) or made.order.plan.kind is not Kind.ACTIVATE:
            return made
        plan = made.order.plan
        chains = {each.endpoint: each.chains for each in plan.serves}
        served = [
            (stage.endpoint.name, tuple(each.sha256 for each in shown.chain))
            for name in plan.components
            for stage in self.context.site(name).stages
            for shown in stage.served
        ]
        if not served or not all(chain in chains.get(endpoint, ()) for endpoint, chain in served):
            return made
        return RefusedPlan((Objection(Ground.NOTHING_TO_DO, "what is on disk is served already"),), made.effects)

    def _clear_away(self, refused: RefusedPlan, inboxes: Iterable[Inbox], action: ActionRequest) -> None:
        """Take candidates out of the inboxes that are in place already, and withdraw plans whose cause is gone."""
        if refused.remainder is not None and self._empty(inboxes, refused.remainder):
            why = "the candidate in the inbox is what is installed: it was taken out, and nothing else was done"
            self._note(Event.UNNEEDED, action.components, components=list(action.components), by=self.by, reason=why)
        if not {each.ground for each in refused.objections} <= _GONE:
            return
        for plan, proposal in tuple(self._journal_state().proposals.items()):
            if replace(proposal.action, losses=()) == replace(action, losses=()):
                why = "; ".join(each.detail for each in refused.objections)
                self._note(
                    Event.WITHDRAWN, action.components, hash=plan, action=action.to_json(), by=self.by, reason=why
                )

    def _contested(self, action: ActionRequest) -> Document:
        """Return which components somebody else changes, too, as a part of an answer."""
        records = self.context.transaction.journal.records()
        found: Document = {}
        for name in action.components:
            # Files that cannot be read are among what the plan is refused for.
            with suppress(OSError):
                if (verdict := contested(self.context, records, name)) is not None:
                    found[name] = asdict(verdict)
        return {"contested": found} if found else {}

    def _taken_care_of(self, action: ActionRequest) -> RefusedPlan | None:
        """Return why that is not done without a person, since somebody else changed the files; None where it may be."""
        records = self.context.transaction.journal.records()
        for name in action.components:
            found = contested(self.context, records, name)
            if found is not None and not (action.kind is Kind.REPLACE and found.renewed):
                return RefusedPlan((Objection(Ground.CONTESTED, f"{name}: {found.sentence}"),))
        if (
            action.kind is Kind.ROLLBACK
            and (path := changed_since(self.context, records, action.backup_set)) is not None
        ):
            return RefusedPlan((Objection(Ground.CONTESTED, f"{path} was changed by somebody else since"),))
        return None

    def _in_the_middle(self, made: Prepared) -> RefusedPlan | None:
        """Return why broken files are not mended without a person; None where they may be, or none are."""
        pending, now = self.context.config.settings.pending, self.context.world.now()
        for name in (each for each, ill in made.order.mends.items() if ill is not Ill.EXPIRED):
            changed = set_on_disk(self.context.config.components[name], self.context.world)[1]
            if now - changed < pending:
                why = f"its files were changed {now - changed:.0f} s ago, and somebody may be at work on them"
                return RefusedPlan((Objection(Ground.CONTESTED, f"{name}: {why}"),))
            if made.leaves[name][0] is None:
                why = "no certificate that was in use is known to compare the new one with"
                return RefusedPlan((Objection(Ground.UNREADABLE, f"{name}: {why}"),))
        return None

    def _held_back(self, made: Prepared | RefusedPlan | str, action: ActionRequest) -> Prepared | RefusedPlan | str:
        """Return the plan, or what the journal has against it."""
        if not isinstance(made, Prepared):
            return made
        journal_state, plan = self._journal_state(), made.order.plan
        objections = [
            Objection(Ground.FROZEN, f"{name} is frozen: {journal_state.frozen[name]}")
            for name in plan.components
            if name in journal_state.frozen
        ]
        if (why := journal_state.quarantined.get(candidate_of(plan.changes))) is not None:
            objections.append(Objection(Ground.QUARANTINED, f"this candidate is in quarantine: {why}"))
        if (no := self._no(made, action)) is not None:
            objections.append(no)
        objections += self._obstacles(plan)
        return RefusedPlan(tuple(objections), made.effects) if objections else made

    def _rehearsed(self, made: Prepared | RefusedPlan | str) -> Prepared | RefusedPlan | str:
        """Return the plan, unless carrying it out would be refused now; only for a person are commands run."""
        if not isinstance(made, Prepared) or not self._waits:
            return made
        failure = refusal(self._transaction(), made.order)
        if failure is None:
            return made
        ground = Ground.CONFIG_TEST_BEFORE if failure.cause is Cause.CONFIG_TEST_BEFORE else Ground.TARGET
        return RefusedPlan((Objection(ground, failure.sentence),), made.effects)

    def _transaction(self) -> TransactionContext:
        return replace(self.context.transaction, attended=self._waits)

    def _obstacles(self, plan: Plan) -> Iterator[Objection]:
        """Yield what the files themselves have against it, so that a dry run refuses what the run would."""
        for change in plan.changes:
            try:
                why = obstacle(self.context.world, change, self.context.transaction.terms.trusted_owners)
            except OSError as error:
                why = printable(f"{change.path} cannot be examined: {error.strerror}")
            if why is not None:
                yield Objection(Ground.TARGET, why)

    def _word(self, request: Request) -> Document:
        journal_state = self._journal_state()
        plans = [each for each in journal_state.proposals if request.plan and each.startswith(request.plan)]
        if len(plans) != 1:
            waiting = ", ".join(each[:16] for each in journal_state.proposals) or "none"
            found = "no plan" if not plans else "more than one plan"
            return cannot(f"{found} that waits begins with {request.plan or 'nothing'}; there are: {waiting}")
        (plan,) = plans
        if request.verb is Verb.REJECT:
            about = journal_state.proposals[plan]
            self._note(
                Event.REJECTED,
                hash=plan,
                kind=about.action.kind,
                components=list(about.action.components),
                case=dict(about.case),
                by=self.by,
                reason=printable(request.why),
            )
            return {"rejected": plan}
        made, inboxes = self._make(journal_state.proposals[plan].action)
        made = self._without_what_is_so(made)
        if isinstance(made, RefusedPlan):
            self._clear_away(made, inboxes, journal_state.proposals[plan].action)
        if not isinstance(made, Prepared):
            return self._shown(made)
        if made.order.plan.hash != plan:
            return cannot(f"what would be done is by now another plan, {made.order.plan.hash[:16]}: look at it again")
        self._see(made, journal_state.proposals[plan].action)
        until = self.context.world.now() + self.context.config.settings.actor.approval_lifetime
        self._note(Event.APPROVED, hash=plan, by=self.by, until=until, reason=printable(request.why))
        return {"approved": plan, "until": until, **self._shown(made)}

    def _carry_out(self, request: Request, action: ActionRequest, handed: CandidateFiles | None) -> Document:
        asked = {
            "by": self.by,
            "why": printable(request.why),
            "action": action.to_json(),
            "handed": handed is not None,
            "circumstances": circumstances(self.context.trust_context),
        }
        transaction = replace(self._transaction(), asked=asked, told=self.told, stopping=self.stopping)
        # What a crash left comes first, or it would be mixed with this; so does what somebody wrote late.
        # A daemon has neither done more often than the actor does it unasked: each recovery counts as an attempt.
        if self.attended or self.pace.may(self.context.world):
            recovered, compared = recover(transaction), look_again(transaction)
        else:
            recovered, compared = (), Compared()
        endings = [each for each in recovered if not left_to_others(each)]
        late = {**busy_document(recovered), **late_document(compared)}
        # Else the keys of another component would be given up.
        if action.key_compromised and not self._led_astray(action):
            given_up = self._give_up(action, request.why)
            answer = self._do(request, action, handed, transaction, endings)
            return {**answer, **late, "given_up": given_up}
        return {**self._do(request, action, handed, transaction, endings), **late}

    def _do(
        self,
        request: Request,
        action: ActionRequest,
        handed: CandidateFiles | None,
        transaction: TransactionContext,
        endings: list[Ending],
    ) -> Document:
        asked = transaction.asked
        made, inboxes = self._make(action, handed)
        if isinstance(made, RefusedPlan) and handed is None:
            self._clear_away(made, inboxes, action)
        if self.bound is not Bound.NOT and isinstance(made, Prepared) and (no := self._no(made, action)) is not None:
            made = RefusedPlan((no,), made.effects)
        if self.bound is Bound.LEAVE and isinstance(made, Prepared):
            made = self._taken_care_of(action) or self._in_the_middle(made) or made
        if self.bound is not Bound.NOT and isinstance(made, Prepared):
            found = self._leave(action, made, request.plan)
            if found.why:
                approved = (
                    "" if self.bound is Bound.APPROVED else " for the daemon alone, and this plan is not approved"
                )
                answer = cannot(_not_now(action, found.why, approved))
                return {**endings_document(endings), **answer} if endings else answer
            if found.policy is not None and action.kind is Kind.REPLACE:
                # Whose certificates that policy takes, is its own matter.
                made, inboxes = self._make(action, handed, found.policy)
        if not isinstance(made, Prepared):
            return {**(endings_document(endings) if endings else {}), **self._shown(made)}
        plan = made.order.plan.hash
        if request.plan and request.plan != plan:
            return cannot(f"this plan is {plan}, not the one that was asked for: look at it again")
        ending = transact(replace(transaction, asked={**asked, "begins": _begins(made)}), made.order)
        if ending.outcome in {Outcome.COMMITTED, Outcome.FAILED_FORWARD}:
            self._empty(inboxes, made.remainder)
        return {**self._shown(made), **endings_document([*endings, ending])}

    def _see(self, made: Prepared, action: ActionRequest, granted: Ruling | None = None) -> tuple[Situation, ...]:
        """Return the situation of each component that a plan is for, by what the actor sees now; raises OSError.

        `granted` is the word of whoever approved the plan.
        """
        context, kind = self.context, action.kind
        records = context.transaction.journal.records()
        journal_state = JournalState.of(records)
        looks = [look_at(context, name) for name in action.components]
        why = "it was not asked about"
        if kind is Kind.ROLLBACK:
            why = unproven(context, looks, records, action.backup_set) if granted is None else ""
            if granted is None and not why and not any(each.gained for each in made.effects):
                why = "no client would be better off with what was there before"
        candidate = candidate_of(made.order.plan.changes) if kind is Kind.REPLACE else ""
        case, barred = self._case(made, action), journal_state.why_not(made.order.keys)

        def seen(look: Look) -> Situation:
            found = situation_of(context, look, records, self.sightings, candidate, why, given_up=barred)
            name = found.subject
            no = journal_state.no_to(cases_of(kind, {name: case[name]})) if name in case else None
            words = [(False, no), (True, granted)]
            said = [
                Said(kind, _what(action, candidate, found), approved, each.until, each.by)
                for approved, each in words
                if each is not None
            ]
            return replace(found, said=tuple(said), apart=found.apart if granted is None else 0.0)

        return tuple(map(seen, looks))

    def _leave(self, action: ActionRequest, made: Prepared, plan: str) -> Leave:
        """Return whether a plan may be carried out now by what the actor sees; raises OSError."""
        context, now = self.context, self.context.world.now()
        policies, journal_state = context.config.policies, self._journal_state()
        granted = journal_state.approved.get(plan, _SOMEBODYS) if self.bound is Bound.APPROVED else None
        situations = self._see(made, action, granted)
        if granted is None:
            if action.losses:
                return Leave(None, "clients would be lost on purpose")
            if action.allow_shorter:
                return Leave(None, "that it may last for less is for an operator to say")
            if action.kind is Kind.REPLACE and (back := _goes_back(made, journal_state)):
                return Leave(None, back)
        candidate = candidate_of(made.order.plan.changes)
        given = [leave(action.kind, _what(action, candidate, each), each, policies, now) for each in situations]
        first = next((each for each in given if not each.why), None)
        if first is None:
            return given[0]
        # What was replaced as one is undone as one, whichever of them is worse off.
        others = [each for each, one in zip(situations, given, strict=True) if one.why]
        joining = (joins(action.kind, _what(action, candidate, each), each, policies, now) for each in others)
        against = next(filter(None, joining), "")
        return Leave(None, against) if against else first

    def _empty(self, inboxes: Iterable[Inbox], remainder: Remainder) -> int:
        """Remove what is done with; return how many files that was."""
        world = self.context.world
        return sum(empty(world, each, lambda file: remainder.is_done_with(identities(file))) for each in inboxes)

    def _recover(self, request: Request) -> Document:
        transaction = replace(self.context.transaction, asked={"by": self.by}, told=self.told)
        kept: list[str] = []
        thawed = [each for each in request.components if each in self._journal_state().frozen]
        for name in request.components:
            match thaw(transaction, name):
                case Busy(component, holder):
                    return cannot(f"process {holder} is at work on {component}")
                case NotWhole(component, why):
                    return cannot(f"{component} stays frozen, and nothing was removed: {why}")
                case KeptPaths(paths):
                    kept += map(printable, paths)
        held: list[str] = []
        if request.plan:
            held = [each for each in self._journal_state().quarantined if each.startswith(request.plan)]
            if not held:
                return cannot(f"no candidate in quarantine begins with {request.plan}")
            for each in held:
                self._note(Event.RELEASED, candidate=each)
        reinstated: list[str] = []
        if request.key:
            reinstated = [each for each in self._journal_state().given_up if each.startswith(request.key)]
            if len(reinstated) != 1:
                found = "no key" if not reinstated else "more than one key"
                return cannot(f"{found} that was given up begins with {request.key}")
            self._note(Event.KEY_REINSTATED, keys=reinstated, by=self.by)
        recovered = recover(transaction, live=self.live)
        endings = [each for each in recovered if not left_to_others(each)]
        late = {**busy_document(recovered), **late_document(look_again(transaction))}
        journal_state = self._journal_state()
        done: Document = {
            "thawed": thawed,
            "not_frozen": [each for each in request.components if each not in thawed],
            "unanswered": [each for each in request.components if self.live and self._is_unanswered(each)],
            "released": held,
            "reinstated": reinstated,
            "kept": kept,
            **late,
        }
        if request.components or request.plan or request.key:
            # Who asks about one component is told of that one.
            frozen = {name: why for name, why in journal_state.frozen.items() if name in request.components}
            return {**endings_document(endings), **done, "frozen": frozen, "quarantined": {}}
        quarantined = {each: f"{self._tried_for(each)}{why}" for each, why in journal_state.quarantined.items()}
        return {**endings_document(endings), **done, "frozen": journal_state.frozen, "quarantined": quarantined}

    def _is_unanswered(self, component: str) -> bool:
        """Whether a component has endpoints, and nobody who connects to one is answered."""
        live_view = self.context.transaction.live.look((component,), self.context.world.now())
        return bool(live_view.served) and not live_view.answering

    def _tried_for(self, candidate: str) -> str:
        """Say for which components a candidate in quarantine was tried, the beginning of a sentence."""
        records = self.context.transaction.journal.records()
        put = next(
            (one for one in records if one.event is Event.QUARANTINED and one.data.get("candidate") == candidate), None
        )
        begins = (one for one in records if one.event is Event.BEGIN and put and one.transaction == put.transaction)
        names = [str(name) for one in begins for name in one.data.get("plan", {}).get("components", ())]
        return f"of {', '.join(names)}: " if names else ""

    def _backups(self, components: Sequence[str]) -> Document:
        names = components or sorted(self.context.config.components)
        return {"sets": [self._set(each) for name in names for each in self.context.backup_sets(name)]}

    def _set(self, of: BackupSet) -> Document:
        """Return a backup set, with why it is never given back, where that is so."""
        journal_state, context = self._journal_state(), self.context
        document = {**set_document(of), "unusable": context.unusable(of)}
        if not journal_state.given_up:
            return document
        try:
            content = backup.content(context.world, context.transaction.backups, of)
            keys = keys_of_set(context.config.components[of.component], content, context.world)
        except BackupError as error:
            return {**document, "never": str(error)}
        return {**document, "never": journal_state.why_not(sorted(keys))}

    def _note(self, event: Event, about: Sequence[str] = (), **data: object) -> None:
        record = Record(self.context.world.now(), "", event, data)
        self.context.transaction.journal.append(record)
        if not self.attended:
            self.pace.add(about, self.context.world)
        self.told(record)


_SOMEBODYS: Final = Ruling("somebody", 0.0, float("inf"))


def _what(action: ActionRequest, candidate: str, situation: Situation) -> str:
    """Return what it would be done with, as `Decision.what`."""
    match action.kind:
        case Kind.REPLACE:
            return candidate
        case Kind.ROLLBACK:
            return action.backup_set
        case Kind.ACTIVATE:
            return situation.on_disk


def _holds(journal_state: JournalState, proposal: Proposal, now: float) -> bool:
    """Whether a plan is approved, at Unix time `now`."""
    return proposal.plan in journal_state.approved and now < journal_state.approved[proposal.plan].until


def _told_apart(made: Prepared, case: Mapping[str, str]) -> str:
    """Say what tells a plan from others for the same components, without an end."""
    plan = made.order.plan
    said: list[str] = []
    for name, (_, new) in made.leaves.items():
        ends = "an unknown time" if new.not_after is None else moment(new.not_after)
        names = ", ".join(new.names[:3]) or new.subject
        of = f", of the set {case[name]}" if plan.kind is Kind.ROLLBACK else ""
        said.append(f"{name}: {names}, until {ends}, sha256 {new.sha256[:16]}{of}")
    lost = f"; loses {', '.join(plan.expected_losses)}" if plan.expected_losses else ""
    return printable("; ".join(said) + lost, 500)


def _begins(made: Prepared) -> dict[str, float]:
    """Return from when on the new certificate of each component is valid, Unix time."""
    return {name: new.not_before for name, (_, new) in made.leaves.items() if new.not_before is not None}


def _goes_back(made: Prepared, journal_state: JournalState) -> str:
    """Say which new certificate is older than one that was in use, which a person must want; empty where none is."""
    for name, begin in _begins(made).items():
        old = made.leaves[name][0]
        newest = max(journal_state.newest.get(name, 0.0), (old.not_before or 0.0) if old is not None else 0.0)
        if begin < newest:
            return f"the certificate for {name} begins at {moment(begin)}, and one that begins later was in use"
    return ""


def _not_now(action: ActionRequest, why: str, approved: str) -> str:
    return printable(
        f"{action.kind} of {', '.join(action.components)} is not{approved or ' to be done now'}: {why}", 2000
    )


def unknown(config: Config, components: Iterable[str]) -> str | None:
    """Say which of `components` is none, a sentence; None where all are."""
    for name in components:
        if name not in config.components:
            known = ", ".join(sorted(config.components)) or "none"
            return f"there is no component {printable(name, 200)}; there are: {known}"
    return None


def unusable(config: Config, components: Iterable[str]) -> str | None:
    """Say why nothing can be done to one of `components`, a sentence; None where it can."""
    components = tuple(components)
    if (wrong := unknown(config, components)) is not None:
        return wrong
    for name in components:
        if config.components[name].service is None:
            return f"component {name} has no 'service' in the configuration: certvigil only watches it"
    return None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The backup sets that a component is given back, of which the last counts."""

    sets: Sequence[BackupSet]
    passed_over: tuple[str, ...] = ()
    """Newer ones that cannot be used, and why: sentences, printable."""


def _chosen(context: ActorContext, component: str, name: str) -> _Chosen | RefusedPlan | str:
    """Return the backup set called `name`, the last that can be used where that is empty, or why there is none.

    Raises BackupError, OSError.
    """
    sets = context.backup_sets(component)
    if name == DEFAULT_SET:
        # A file that joined the component later is as it first was.
        chosen: Sequence[BackupSet] = [each for each in reversed(sets) if each.pinned]
        return _Chosen(chosen) if chosen else f"there is no backup set {name} of {component}"
    if name:
        chosen = [each for each in sets if each.transaction == name]
        return _Chosen(chosen) if chosen else f"there is no backup set {name} of {component}"
    passed_over: list[str] = []
    # What was written late, nobody gets who does not ask for it by its name.
    for each in (one for one in reversed(sets) if not one.late):
        if not (why := context.unusable(each)):
            return _Chosen([each], tuple(passed_over))
        passed_over.append(f"{component}: backup set {each.transaction} is passed over: {why}")
    if not passed_over:
        return f"there is no backup set of {component}"
    return RefusedPlan(tuple(Objection(Ground.UNUSABLE, each) for each in passed_over))
