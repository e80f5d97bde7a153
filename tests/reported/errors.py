"""Failures in the stream, labels of answers, and what ends one."""

from __future__ import annotations

from .row import Report

ROWS: tuple[Report, ...] = ()
