"""The fault matrix: what may come over the wire instead of an answer, and what becomes of it.

One :class:`Row` a fault, and one for each form of an answer that is none. ``test_faults.py`` plays
each over a real socket, ``fault_table.py`` writes them into the documentation, and
``benchmarks/compare_faults.py`` plays the same to other libraries. Nothing here imports pytest.
"""

from __future__ import annotations

from .bodies import (
    bad_events,
    chunks,
    compression,
    errors,
    lengths,
    other_bodies,
    too_large,
    unfinished,
)
from .ends import ends, incomplete, no_response, stalls, tls
from .row import Certificates, Held, Row, Script, serving
from .whole import (
    after_done,
    framings,
    grammar,
    http,
    labels,
    no_errors,
    orderly,
    splits,
    unclosed,
)

__all__ = ["GROUPS", "ROWS", "Certificates", "Held", "Row", "Script", "serving"]

#: The rows by the heading that they stand under.
GROUPS: dict[str, list[Row]] = {
    "Framings": list(framings()),
    "Splits": list(splits()),
    "Forms of HTTP": list(http()),
    "The grammar of event streams": list(grammar()),
    "Complete answers": [*orderly(), *unclosed(), *labels()],
    "No errors": list(no_errors()),
    "After [DONE]": list(after_done()),
    "Incomplete answers": [*incomplete(), *unfinished()],
    "No response": list(no_response()),
    "FIN and RST": list(ends()),
    "Lengths": list(lengths()),
    "Chunks": list(chunks()),
    "Compression": list(compression()),
    "TLS": list(tls()),
    "Stalls": list(stalls()),
    "Errors in the stream": list(errors()),
    "Status 200 and no event stream": list(other_bodies()),
    "Events that are none": list(bad_events()),
    "No bounds": list(too_large()),
}
ROWS = [row for rows in GROUPS.values() for row in rows]
