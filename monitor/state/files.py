"""The state of files of no component: the context for a verdict, and the changes by a look."""

from __future__ import annotations

from dataclasses import replace

from config.immutable import immutable
from config.model import FileTarget
from config.vocabulary import FileContent, FileRole, LookOutcome
from monitor.state.events import KeptVerdict
from monitor.state.pending import awaits_rest
from monitor.state.registry import TargetRegistry
from monitor.state.rules import code_digest, rules_of
from monitor.state.target import TargetState, failure_of, learn, waive
from monitor.state.trust import TrustContext
from probes.assess import FileContext, file_facts, is_told_by_certificates
from probes.finding import Assessment
from probes.judge.sharing import FileKeys, servers_leaf
from probes.observation import FileIdentity, FileObservation


@immutable
class _JudgedFile:
    """The context of the last verdict on a file, so that an equal look costs nothing."""

    trust_context: TrustContext
    context: FileContext
    until: float | None
    identity: FileIdentity | None
    """Of the file that it is about."""


class FileRegistry:
    """The files of no component in the registry."""

    def __init__(self, registry: TargetRegistry) -> None:
        self.registry = registry
        self._judged: dict[str, _JudgedFile] = {}
        self._keys = FileKeys()
        """By the names of targets."""
        self._code = code_digest()
        self._by: tuple[TrustContext, str] | None = None
        """A trust context, and the digest of its rules."""
        registry.on_removal(lambda target: self._judged.pop(target, None))
        registry.on_removal(lambda target: self._keys.note(target, None))

    def context(self, target: FileTarget) -> FileContext:
        """Return the context for a verdict on a file now."""
        state = self.registry.targets.get(target.name)
        return FileContext(
            target,
            view=self.registry.trust_context.store_view(target.trust_store),
            last_known=state.presented if state else (),
            revocation=self.registry.revocations.about([state.presented] if state else ()),
            sharing=self._keys.sharing(target.name),
        )

    def concerned(self, context: FileContext) -> tuple[str, ...]:
        """Return the files whose verdict may be another because the key of one is, or is not, that of others now."""
        name = context.target.name
        sharing = self._keys.sharing(name)
        if sharing == context.sharing:
            return ()
        if self._keys.is_one_of_many(name):
            return (name,)
        return (name, *dict.fromkeys(each.path for each in (*context.sharing, *sharing)))

    def forget_verdicts(self) -> None:
        """Judge every file again, since the verdicts were by another clock."""
        self._judged.clear()

    def is_judged(self, context: FileContext, now: float) -> bool:
        """Whether the last verdict still holds in `context`."""
        judged = self._verdict(context.target.name)
        return judged is not None and (judged.until is None or now < judged.until) and judged.context == context

    def takes_up(self, context: FileContext, now: float) -> bool:
        """Take up the verdict of before a restart or a reload, where the same would be found now; whether it is so.

        Only verdicts in plain contexts are remembered.
        """
        target, registry = context.target.name, self.registry
        state = registry.targets.get(target)
        if state is None or state.identity is None or state.kept is None or not _is_plain(context):
            return False
        if not state.kept.holds(self._rules(), now):
            return False
        self._keys.note(target, servers_leaf(FileContent.LEAF, state.presented))
        if self._keys.sharing(target):
            # Meanwhile, another file has got a certificate for its key.
            return False
        self._judged[target] = _JudgedFile(registry.trust_context, context, state.kept.until, state.identity)
        return True

    def _rules(self) -> str:
        trust_context = self.registry.trust_context
        if self._by is None or self._by[0] is not trust_context:
            self._by = trust_context, rules_of(trust_context, self._code)
        return self._by[1]

    def until(self, target: str) -> float | None:
        """Return the Unix time at which the verdict on a file may change by itself, None for never."""
        judged = self._verdict(target)
        return judged.until if judged else None

    def judged_identity(self, target: str) -> FileIdentity | None:
        """Return the identity of the file that the last verdict is about, as long as the trust context is the same."""
        judged = self._verdict(target)
        return judged.identity if judged else None

    def _verdict(self, target: str) -> _JudgedFile | None:
        """Return the last verdict on a file; None where the trust context has changed since, or without any."""
        judged = self._judged.get(target)
        return judged if judged is not None and judged.trust_context is self.registry.trust_context else None

    def learn(
        self,
        observation: FileObservation,
        context: FileContext,
        assessment: Assessment,
        now: float,
        left_alone: float = float("inf"),
    ) -> LookOutcome:
        """Take up a look and the verdict on it, and publish the changes.

        `left_alone` is for how many seconds nobody has written to the file.
        """
        registry, target = self.registry, observation.target
        assessment = waive(assessment, target, registry.config.waivers, now)
        # A file without certificates keeps the last known ones: it is read again, never judged by these.
        identity = observation.identity if observation.certificates else None
        # What the file held before has no part in it, and would be held for as long as the file is watched.
        terms = replace(context, last_known=())
        self._judged[target] = _JudgedFile(registry.trust_context, terms, assessment.until, identity)
        state = registry.targets[target]
        # Whoever judges it anew has only its certificates: where more was in it, it is read again.
        told = identity if is_told_by_certificates(observation) else None
        new, events = learn(
            state,
            file_facts(observation, state.presented),
            assessment,
            failure_of(observation),
            now=now,
            identity=told,
            kept=None if told is None else self._kept(state, told, context, assessment, now),
            keystore=observation.keystore,
            file_format=observation.format,
            lists=observation.lists,
            waits=lambda raised: (
                registry.clock.awaits(raised.finding)
                or awaits_rest(raised, left_alone, registry.config.settings.settle, now)
            ),
        )
        self._keys.note(target, servers_leaf(observation.content, new.presented))
        registry.update(new)
        registry.publish(events)
        if new.failure is not None:
            return LookOutcome.FAILED
        return LookOutcome.CHANGED if events else LookOutcome.UNCHANGED

    def _kept(
        self, state: TargetState, identity: FileIdentity, context: FileContext, assessment: Assessment, now: float
    ) -> KeptVerdict | None:
        """Return the verdict as it is remembered; None where it is to be given again after a restart."""
        if not _is_plain(context):
            return None
        kept, before = KeptVerdict(self._rules(), now, assessment.until, assessment.expiry), state.kept
        is_same = before is not None and identity == state.identity and replace(kept, since=before.since) == before
        # The same again is no news: it holds since it was given first.
        return before if is_same and before is not None and before.since <= now else kept


def _is_plain(context: FileContext) -> bool:
    """Whether nothing but the rules, a file and time has a say in a verdict on it: no other file, and no revocation."""
    return context.target.role is FileRole.FOUND and context == FileContext(context.target, context.view)
