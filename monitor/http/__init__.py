"""What the daemon answers over HTTP. Loading it takes half a second: only the daemon does."""

from monitor.http.server import WebServer
from monitor.http.view import Status, View

__all__ = ["Status", "View", "WebServer"]
