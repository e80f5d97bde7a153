"""Deltas: tool calls, lists, objects, content in parts, choices, halves of an emoji."""

from __future__ import annotations

from .row import Report

ROWS: tuple[Report, ...] = ()
