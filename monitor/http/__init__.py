"""The daemon's answers over HTTP. Loading it takes half a second: only the daemon does."""

from monitor.http.server import WebServer
from monitor.http.view import DaemonStatus, DaemonView, SubjectActs, UnderWay

__all__ = ["DaemonStatus", "DaemonView", "SubjectActs", "UnderWay", "WebServer"]
