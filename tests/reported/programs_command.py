"""The command, its files, batches, and the plugin for pytest."""

from __future__ import annotations

from .row import Situation

ROWS: tuple[Situation, ...] = ()
