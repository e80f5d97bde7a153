"""Chunks -> the whole completion: what the same call unstreamed would have returned.

Plain parsed JSON in, one plain dict out. Typed objects, threads and what to do about an incomplete
answer are left to others; what the accumulators promise to threads is told in :mod:`.pieces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .asked import UNKNOWN, Asked

if TYPE_CHECKING:
    from .choices import ChatAccumulator, CompletionAccumulator, is_reason
    from .responses import ResponseAccumulator
else:
    from openai_stream.first_use import at_first_use

    __getattr__, __dir__ = at_first_use(
        globals(),
        {
            ".choices": ("ChatAccumulator", "CompletionAccumulator", "is_reason"),
            ".responses": ("ResponseAccumulator",),
        },
    )

__all__ = [
    "UNKNOWN",
    "Asked",
    "ChatAccumulator",
    "CompletionAccumulator",
    "ResponseAccumulator",
    "is_reason",
]
