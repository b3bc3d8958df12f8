"""How findings name a certificate."""

from __future__ import annotations

from collections.abc import Callable

from config.text import Printable
from probes.certificate import Certificate

SubjectOf = Callable[[Certificate], Printable]
"""Gives the subject of a finding about a certificate, such as `position 1`."""
