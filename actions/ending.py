"""How a transaction ended, and why: the outcomes, causes and grounds, and the value that has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from actions.plan import Plan
from config.immutable import immutable
from config.text import printable


class Outcome(StrEnum):
    """How a transaction ended."""

    COMMITTED = "committed"
    REFUSED = "refused"
    """No file was changed."""
    ROLLED_BACK = "rolled_back"
    FAILED_FORWARD = "failed_forward"
    """The new files have a fault, but no client would be better off with the old files."""
    SUPERSEDED = "superseded"
    """Another writer put a whole set in place meanwhile, which is served and accepted: it was left alone."""
    FROZEN = "frozen"
    """Neither set is in use as a whole: an operator must look."""


class Ground(StrEnum):
    """Why a candidate may not be installed."""

    KEY_MISMATCH = "key_mismatch"
    INCOMPLETE_CHAIN = "incomplete_chain"
    WRONG_ORDER = "wrong_order"
    NAMES_MISSING = "names_missing"
    NOT_VALID_NOW = "not_valid_now"
    TOO_SHORT = "too_short"
    WEAK_KEY = "weak_key"
    WEAK_SIGNATURE = "weak_signature"
    ISSUER_NOT_ALLOWED = "issuer_not_allowed"
    NO_CLIENT_ACCEPTS = "no_client_accepts"
    CLIENT_LOST = "client_lost"
    """A client accepts the chain that is served today and would not accept the candidate."""
    CANNOT_BE_SERVED = "cannot_be_served"
    """A TLS library refuses to load it, or to complete a handshake with it."""
    NOTHING_TO_DO = "nothing_to_do"
    NO_CHAIN_TO_WRITE = "no_chain_to_write"
    LINE_NOT_EDITED = "line_not_edited"
    """A configuration line that names the chain must be added or removed by hand."""
    KEY_WOULD_BE_EXPOSED = "key_would_be_exposed"
    KEYSTORE_WOULD_BE_LOST = "keystore_would_be_lost"
    """It holds content that a new keystore would not, is not opened by its password, or is in a format not written."""
    UNREADABLE = "unreadable"
    NO_CANDIDATE = "no_candidate"
    """The files make no candidate, or not yet."""
    NO_OFFER = "no_offer"
    """The inbox is empty, and the offers make no candidate."""
    EMPTY_INBOX = "empty_inbox"
    INBOX_UNSAFE = "inbox_unsafe"
    MEMBER_INBOX = "member_inbox"
    """The candidate is in the inbox of a member of a group, and not in that of the group."""
    QUARANTINED = "quarantined"
    """The candidate was tried, and failed by its own fault."""
    REJECTED = "rejected"
    """A person rejected the plan."""
    FROZEN = "frozen"
    """The component is left alone until an operator thaws it."""
    CONTESTED = "contested"
    """Another writer changes the files, too: a person is asked first."""
    CHANGED_MEANWHILE = "changed_meanwhile"
    """The components were changed after the action was asked for, and it was meant for the state before."""
    TARGET = "target"
    """A file cannot or should not be changed."""
    UNUSABLE = "unusable"
    """The files on disk make no candidate."""
    PATH_SHARED = "path_shared"
    CONFIG_TEST_BEFORE = "config_test_before"
    """The service's configuration test fails already, and the plan does not mend that."""
    KEY_GIVEN_UP = "key_given_up"
    """An operator has declared its private key compromised."""
    REVOKED = "revoked"
    """A certificate of the candidate is revoked, or that with the same key in use is, as a compromised one."""
    NEEDS_A_PERSON = "needs_a_person"
    """The daemon alone may not have it carried out, and no time changes that: a person must approve the plan."""
    TOO_MANY_PLANS = "too_many_plans"
    """Too many plans of the kind wait for a person already."""
    NOT_TO_BE_TRUSTED = "not_to_be_trusted"
    """A certificate that is no CA, or has ended."""
    ALIAS_TAKEN = "alias_taken"
    """Another certificate has that alias in the trust store."""
    NO_SUCH_ENTRY = "no_such_entry"
    """The trust store has no such certificate, or something else by that name."""
    CANNOT_BE_WRITTEN = "cannot_be_written"
    """The trust store is in a format, or of a content, that cannot be written without a loss."""
    KEYTOOL = "keytool"
    """Java's keytool is missing, failed, or wrote something else than it was told."""
    PACKAGE_OWNED = "package_owned"
    """A package owns the trust store, and its scripts need it as it is."""


class Cause(StrEnum):
    """Why a transaction did not simply commit."""

    NONE = "none"
    BUSY = "busy"
    COMPONENT_FROZEN = "component_frozen"
    QUARANTINED = "quarantined"
    KEY_GIVEN_UP = "key_given_up"
    """The private key was given up meanwhile."""
    TARGET = "target"
    """A file cannot or should not be changed."""
    CHANGED = "changed"
    """Someone else changed a file."""
    STORAGE = "storage"
    """A file operation failed."""
    JOURNAL = "journal"
    STOP = "stop"
    """A service could not be stopped for the switch."""
    CONFIG_TEST_BEFORE = "config_test_before"
    CONFIG_TEST = "config_test"
    ACTIVATION = "activation"
    ACTIVATION_TIMEOUT = "activation_timeout"
    NOT_PROVEN = "not_proven"
    """The service reports a restart, and is the same process."""
    NOT_SERVED = "not_served"
    CLIENT_LOST = "client_lost"
    INTERRUPTED = "interrupted"
    OBJECTION = "objection"
    """There was no transaction: the plan has objections."""
    INTERNAL = "internal"
    """A fault of certvigil itself."""


CANDIDATES_FAULT: Final = frozenset({Cause.CONFIG_TEST, Cause.ACTIVATION, Cause.CLIENT_LOST})
"""Causes that another attempt with the same candidate would repeat, provided that the old set then works."""


@immutable
class Failure:
    """Why a transaction does not go on."""

    cause: Cause
    sentence: str

    def plus(self, more: str) -> Failure:
        """Return the same failure with a longer sentence."""
        return Failure(self.cause, self.sentence + more)


_CONSEQUENCES: Final = {
    Outcome.COMMITTED: "",
    Outcome.REFUSED: "; nothing was changed",
    Outcome.ROLLED_BACK: "; undone, the old files are in place",
    Outcome.FAILED_FORWARD: ". Look at it soon",
    Outcome.SUPERSEDED: "; it was left alone",
    Outcome.FROZEN: ". FROZEN: nothing more is done here until an operator clears it",
}
FROZEN_UNTIL_RECOVERY: Final = ". FROZEN: the next recovery tries again, and nothing else is done here until then"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a transaction ended. `RecordedEnding` is the same value, read from the journal.

    Each answer, event, row and page that shows an ending holds one of the two, or a projection that it makes.
    """

    transaction: str
    components: tuple[str, ...]
    outcome: Outcome
    cause: Cause
    reason: str
    """A sentence without components, consequence and full stop, as in the journal."""
    consequence: str | None = None
    """The rest of the sentence; None for the usual consequence of the outcome."""
    remarks: tuple[str, ...] = ()
    """Further sentences for the operator; printable."""
    group: str = ""
    """The group of which the components are; empty where they make none."""

    @classmethod
    def of(
        cls,
        transaction: str,
        plan: Plan,
        outcome: Outcome,
        failure: Failure,
        remarks: Iterable[str] = (),
        *,
        consequence: str | None = None,
    ) -> Ending:
        """Return the ending of the transaction of a plan after a failure, or after none (`Cause.NONE`)."""
        return cls(
            transaction=transaction,
            components=plan.components,
            outcome=outcome,
            cause=failure.cause,
            reason=failure.sentence,
            consequence=consequence,
            remarks=tuple(remarks),
            group=plan.group,
        )

    @property
    def sentence(self) -> str:
        """The event and the present state; printable where the reason is."""
        rest = _CONSEQUENCES[self.outcome] if self.consequence is None else self.consequence
        return f"{titled(self.group, self.components)}: {self.reason}{rest}."

    def to_record(self) -> dict[str, str]:
        """Return the part that the journal records, as plain values."""
        return {"outcome": self.outcome, "cause": self.cause, "reason": self.reason}


def titled(group: str, components: Iterable[str]) -> str:
    """Return what people call these components, such as `primary (console, portal)`; printable."""
    names = ", ".join(components)
    return printable(f"{group} ({names})" if group else names)


ANSWERS_NOBODY: Final = "answers nobody"
ANSWERS_AGAIN: Final = "answers again"


def answers_nobody(reason: str) -> bool:
    """Whether the reason of an ending says that a service answers nobody."""
    return ANSWERS_NOBODY in reason


def answers_again(reason: str) -> bool:
    """Whether the reason of an ending says that each service that answered nobody answers again."""
    return ANSWERS_AGAIN in reason and ANSWERS_NOBODY not in reason


def detail_of(error: OSError) -> str:
    """Return the failure, with its file where it is known; printable."""
    return printable(f"{error.strerror or type(error).__name__}" + (f" ({error.filename})" if error.filename else ""))
