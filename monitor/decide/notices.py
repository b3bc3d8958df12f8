"""Policies that notify: the channels that a decision names are told of it."""

from __future__ import annotations

import shlex

from config.policy import Notify
from config.text import printable, sentence
from monitor.decide.decision import DecisionMade
from monitor.notify.deliver import Tone
from monitor.notify.notifier import Notifier


class PolicyNotices:
    """Turns decisions to notify into messages."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def decision_made(self, made: DecisionMade) -> None:
        """Tell the channels of a decision, if it is one to notify."""
        decision = made.decision
        if isinstance(decision.action, Notify):
            title = f"{decision.subject}: policy {decision.policy} holds"
            subject = printable(shlex.quote(decision.subject))
            told = [
                *(each.because for each in decision.reasons),
                sentence("To see what will be done about it, and when: certvigil policy explain {}", subject),
                "This is told once, at its begin; its end is not told.",
            ]
            self._notifier.announce(decision.identity, decision.action.channels, title, told, Tone.WARNING)
