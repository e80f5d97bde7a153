"""The events of ``/responses``."""

from __future__ import annotations

from .row import Report

ROWS: tuple[Report, ...] = ()
