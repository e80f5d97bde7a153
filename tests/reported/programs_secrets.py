"""Keys, and where they could show."""

from __future__ import annotations

from .row import Situation

ROWS: tuple[Situation, ...] = ()
