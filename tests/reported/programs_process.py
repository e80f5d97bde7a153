"""Signals, interpreters, green threads, stopping, fairness, memory."""

from __future__ import annotations

from .row import Situation

ROWS: tuple[Situation, ...] = ()
