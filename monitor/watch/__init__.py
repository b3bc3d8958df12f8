"""Noticing that files change: a trigger, which carries no truth."""

from monitor.watch.watcher import Change, Mode, Watcher, WatchState

__all__ = ["Change", "Mode", "WatchState", "Watcher"]
