"""The metrics for Prometheus: the page of targets, kept compressed, and the small families."""

from monitor.metrics.counters import Counters
from monitor.metrics.page import Page
from monitor.metrics.piece import PAUSE, Piece, gzipped, piece, plain_text

__all__ = ["PAUSE", "Counters", "Page", "Piece", "gzipped", "piece", "plain_text"]
