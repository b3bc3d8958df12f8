"""The panels of `certvigil --help`, and their order."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from typer.core import TyperGroup


class Panel(StrEnum):
    """What people want of a command; the order is that of the help."""

    WATCH = "Watch"
    ACT = "Decide and act"
    FILES = "Files and stores"
    APPLIANCE = "The appliance"
    DAEMON = "The daemon"


class PanelGroup(TyperGroup):
    """A group of commands of which each has a panel."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, panel by panel; within a panel in the order of their definition."""
        return sorted(super().list_commands(ctx), key=self._panel)

    def _panel(self, name: str) -> int:
        return list(Panel).index(Panel(getattr(self.commands[name], "rich_help_panel", "")))
