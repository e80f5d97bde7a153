"""Chunks -> the whole completion: what the same call unstreamed would have returned.

Plain parsed JSON in, one plain dict out. Typed objects, threads and what to do about an incomplete
answer are left to others; what the accumulators promise to threads is told in :mod:`.pieces`.
"""

from __future__ import annotations

from .choices import ChatAccumulator, CompletionAccumulator
from .responses import ResponseAccumulator

__all__ = ["ChatAccumulator", "CompletionAccumulator", "ResponseAccumulator"]
