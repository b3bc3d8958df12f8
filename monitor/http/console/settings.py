"""The page *Settings*: the configuration in force, masked, with the place of each value; channels. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from config.immutable import immutable
from config.load import Marked
from config.model import Config
from config.show import show, show_marked
from config.text import Printable, harmless, sentence
from monitor.http.answers import FindingAnswer, StatusAnswer
from monitor.http.notifications import NotificationsAnswer


@immutable
class ConfigLineShown:
    """A line of the configuration, and where its value was written."""

    text: str
    place: str
    """File and line; empty where it is a default, or not known."""


@immutable
class ChannelHere:
    """A channel, without its addresses."""

    name: str
    waiting: int
    """Messages that were not delivered yet."""
    open: int
    """Problems of which it was told."""


@immutable
class SettingsPage:
    """All that the page shows."""

    status: StatusAnswer
    lines: tuple[ConfigLineShown, ...]
    why_no_places: str
    """Why no value has a place; empty where they have."""
    channels: tuple[ChannelHere, ...]
    notifications: NotificationsAnswer
    own: tuple[FindingAnswer, ...]
    """Findings about certvigil itself."""
    is_telling: bool
    """Whether people are told at all."""


def settings_page(
    config: Config, on_disk: Marked | None, status: StatusAnswer, notifications: NotificationsAnswer
) -> SettingsPage:
    """Return the page; `on_disk` is the configuration as it was read again, without secrets, to tell the places."""
    same = on_disk is not None and on_disk.config.digest == config.digest
    why = Printable("") if same else sentence("the files on disk are others than those in force")
    text = show_marked(*on_disk) if on_disk is not None and same else show(config)
    return SettingsPage(
        status=status,
        lines=tuple(_line(each) for each in text.splitlines()),
        why_no_places=why,
        channels=tuple(_channels(config, notifications)),
        notifications=notifications,
        own=tuple(status.findings),
        is_telling=config.notifications.enabled and bool(config.channels),
    )


def _line(text: str) -> ConfigLineShown:
    value, mark, place = text.rpartition("  # ")
    return ConfigLineShown(harmless(value), harmless(place)) if mark else ConfigLineShown(harmless(text), "")


def _channels(config: Config, notifications: NotificationsAnswer) -> Sequence[ChannelHere]:
    waiting: Mapping[str, int] = {
        name: sum(each.channel == name for each in notifications.undelivered) for name in config.channels
    }
    return [
        ChannelHere(name, waiting[name], sum(each.channel == name for each in notifications.alerts))
        for name in config.channels
    ]
