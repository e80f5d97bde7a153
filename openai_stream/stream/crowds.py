"""Where a client keeps its crowds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from openai_stream.first_use import importing

if TYPE_CHECKING:
    from .crowd import Crowd

__all__ = ["Crowds"]


class Crowds:
    """The crowds of a client: one a process, for a forked child has no threads of its parent's."""

    def __init__(self) -> None:
        self._crowds: dict[int, Crowd] = {}

    def here(self, threads: int | None) -> Crowd | None:
        """The one of this process.

        :param threads: how many; ``None`` for no crowd.
        """
        if threads is None:
            return None
        with importing():
            from .crowd import Crowd  # noqa: PLC0415 - most clients have no readers

        process = os.getpid()
        crowd = self._crowds.get(process)
        # Without a lock, which might have been held at the fork: of two one is dropped unused.
        return crowd or self._crowds.setdefault(process, Crowd(threads))
