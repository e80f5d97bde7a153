"""What tests allow for the machine that they run on."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis

_LEAST = float(os.environ.get("HELD_UP", "1"))


def _load() -> float:
    """How many threads want each processor, now or over the last minute, whichever is more."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        running = float(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except OSError:
        running = 0.0
    return max(os.getloadavg()[0], running) / (cores or 1)


class _HeldUp:
    """A number of seconds that is measured whenever it is reckoned with."""

    def __float__(self) -> float:
        return max(_LEAST, _load())

    def __add__(self, other: float) -> float:
        return float(self) + other

    def __sub__(self, other: float) -> float:
        return float(self) - other

    def __mul__(self, other: float) -> float:
        return float(self) * other

    def __truediv__(self, other: float) -> float:
        return float(self) / other

    __radd__, __rmul__ = __add__, __mul__


#: Seconds that the machine itself may hold a thread up: no fault of the code's. It widens what is
#: said to happen at once; how fast that is when nothing else runs, ``make races`` measures. At
#: least one, or what the variable ``HELD_UP`` says; as many as threads share a processor while the
#: bound is looked at. ``float(HELD_UP)`` keeps a value for two places that must agree.
HELD_UP = _HeldUp()

#: How many examples of its own ``hypothesis`` tries a property with.
EXAMPLES = int(os.environ.get("EXAMPLES", "50"))

#: For a property whose values take long to draw: a busy machine is no error.
calmly = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
