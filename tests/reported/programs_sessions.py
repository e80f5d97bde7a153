"""Sessions that are given, proxies, tokens, certificates, names and addresses."""

from __future__ import annotations

from .row import Situation

ROWS: tuple[Situation, ...] = ()
