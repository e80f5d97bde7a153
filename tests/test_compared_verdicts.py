"""The comparison of clients: what it plays, and the page that it writes."""

from __future__ import annotations

import sys

from benchmarks.compare_verdicts import BEHAVIOURS, DOCUMENT, Peer, cell, warm

QUICK = {
    "a whole answer": "the answer",
    "400 always": "BadRequestError",
    "the connection is closed in the middle": "StreamInterruptedError",
    "the program stops in the middle": "stopped",
}


def test_asks_a_library_in_a_process_of_its_own() -> None:
    peer = Peer("openai-stream", sys.executable)
    try:
        warm(peer)
        assert {one.name: cell(peer, one) for one in BEHAVIOURS if one.name in QUICK} == QUICK
    finally:
        peer.kill()


def test_the_page_has_all_that_is_played_and_nothing_against_us() -> None:
    rows = DOCUMENT.read_text(encoding="utf-8").split("   * - ")[1:]
    header, *played, summary = [[cell.strip() for cell in row.split("\n     - ")] for row in rows]
    assert header[1:3] == ["openai-stream", "openai"]
    assert [row[0] for row in played] == [one.name for one in BEHAVIOURS]
    assert not [row for row in played if "**" in row[1]]
    assert summary[1] == str(len(BEHAVIOURS))
