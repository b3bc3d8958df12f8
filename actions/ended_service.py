"""A service that has ended for good while it is waited for: then waiting until the deadline helps nobody.

Only its supervisor knows that. A service that starts slowly is `activating`, and so is one that its supervisor starts
again; a daemon without a unit may still be on its way to its port, and a unit that ended by itself without a failure
may have left one. All of these have until the deadline.
"""

from __future__ import annotations

from typing import Final

from actions import service
from actions.transaction_state import TransactionState
from actions.validate import LiveView
from config.text import printable

_GIVEN_UP: Final = "failed"
"""ActiveState of a unit that systemd does not start again by itself."""


def service_that_ended(state: TransactionState, live_view: LiveView) -> str:
    """Say which service has ended for good, where an endpoint that answered before the change does not; else empty."""
    if not state.services_run or not state.baseline.answering - live_view.answering:
        return ""
    for one in dict.fromkeys(state.services().values()):
        if service.supervised(state.world, one).get("ActiveState") == _GIVEN_UP:
            names = printable(", ".join(state.names_of(one)))
            return f"the service of {names} has ended: its unit {printable(one.unit or '')} has failed"
    return ""
