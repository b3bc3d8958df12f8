"""Noticing that files change: a trigger, which carries no truth."""

from monitor.watch.watcher import FileChange, Watcher, WatchMode, WatchState

__all__ = ["FileChange", "WatchMode", "WatchState", "Watcher"]
