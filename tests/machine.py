"""What tests allow for the machine that they run on."""

from __future__ import annotations

import os

#: Seconds that the machine itself may hold a thread up: no fault of the code's. It widens what is
#: said to happen at once; how fast that is when nothing else runs, ``make races`` measures.
HELD_UP = float(os.environ.get("HELD_UP", "1"))

#: How many examples of its own ``hypothesis`` tries a property with.
EXAMPLES = int(os.environ.get("EXAMPLES", "50"))
