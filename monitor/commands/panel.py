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
        return sorted(super().list_commands(ctx), key=lambda name: list(Panel).index(self._panel(name)))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each panel, and the first paragraph of the help of each of its commands."""
        named = [(each, self._panel(each)) for each in self.list_commands(ctx)]
        widest = max(len(name) for name, _ in named)
        for panel in Panel:
            rows = [
                # Each panel has its second column at the same place.
                (name.ljust(widest), " ".join((self.commands[name].help or "").partition("\n\n")[0].split()))
                for name, its in named
                if its is panel
            ]
            with formatter.section(panel.value):
                formatter.write_dl(rows)

    def _panel(self, name: str) -> Panel:
        return Panel(getattr(self.commands[name], "rich_help_panel", ""))
