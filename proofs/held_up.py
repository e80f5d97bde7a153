"""How much the machine holds this process up, measured while something else is measured in it."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType

__all__ = ["HeldUp"]

_EVERY = 0.02  # seconds between two looks
_KEPT = 20_000  # looks that are remembered: some minutes


class HeldUp:
    """A thread that does nothing but note how late it wakes; a context manager, again and again.

    What it says holds for the other threads of the process too, roughly: they share its processors
    and its interpreter's lock.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        #: The time of a look, and the seconds by which all looks until then were late.
        self._looks: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> HeldUp:
        self._over.clear()
        self._looks.append((time.monotonic(), 0.0))
        self._thread = threading.Thread(target=self._look, name="held-up", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        self._looks.clear()

    def _look(self) -> None:
        late = 0.0
        before = time.monotonic()
        while not self._over.wait(_EVERY):
            now = time.monotonic()
            late += max(0.0, now - before - _EVERY)
            self._looks.append((now, late))
            before = now

    def since(self, then: float) -> float:
        """Seconds by which it was held up since then, by :func:`time.monotonic`.

        As far as it goes back; the look that is due now counts too. 0 while it does not look.
        """
        looks = list(self._looks)
        if not looks:
            return 0.0
        last, late = looks[-1]
        earlier = next((so_far for at, so_far in reversed(looks) if at <= then), looks[0][1])
        return late - earlier + max(0.0, time.monotonic() - last - _EVERY)
