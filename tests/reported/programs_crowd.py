"""Loops that read many connections: what is reported of others, around ``Client(readers=n)``."""

from __future__ import annotations

from .row import Situation

_CROWD = "tests/crowd/test_crowd.py"
_EXCESS = "tests/crowd/test_excess.py"
_TROUBLE = "tests/crowd/test_trouble.py"
_NOTHING = "there was no reader of many"

ROWS: tuple[Situation, ...] = (
    Situation(
        "a loop that is held up finds its deadlines due",
        "aio-libs/aiohttp#3457",
        "One task keeps the loop for longer than the others may wait, while their bytes come.",
        "What came meanwhile is read first; only a server that is silent is called silent.",
        _NOTHING,
        f"{_CROWD}::test_what_came_while_the_reader_was_held_up_is_no_silence",
    ),
    Situation(
        "bytes behind the end of an answer",
        "curl/curl#5440",
        "A line end, or the beginning of another response, comes with the end of a body.",
        "The connection is closed: whose the bytes are, nobody can tell.",
        "they were dropped, and the connection kept",
        f"{_EXCESS}::test_a_connection_with_bytes_behind_the_body_is_not_kept",
    ),
    Situation(
        "the rest of a record of TLS, behind the end of an answer",
        "oven-sh/bun#37438",
        "It was decrypted with what came before it, so no look at the socket shows it.",
        "The connection is closed; the next answer does not begin with it.",
        _NOTHING,
        f"{_EXCESS}::test_what_tls_has_decrypted_is_seen",
    ),
    Situation(
        "one that floods starves the others",
        "dabeaz/curio#106",
        "A connection on which there is always something to read keeps its turn.",
        "Each has a share a turn; the others come as before.",
        _NOTHING,
        f"{_CROWD}::test_a_flood_starves_nobody",
    ),
    Situation(
        "a fork shares the selector",
        "eventlet/eventlet#68",
        "The child's loop takes descriptors out of the parent's epoll.",
        "The child leaves the parent's alone, and has a reader of its own.",
        _NOTHING,
        f"{_TROUBLE}::test_a_forked_child_leaves_the_crowd_alone",
    ),
    Situation(
        "no descriptor is left for the loop",
        "joyent/libuv#690",
        "The loop goes round for ever, or ends, at EMFILE.",
        "Each stream has a thread of its own instead, or a clear error.",
        _NOTHING,
        f"{_TROUBLE}::test_without_descriptors_each_has_a_thread",
    ),
    Situation(
        "SystemExit inside of the loop",
        "python/asyncio#305",
        "An exception that is no Exception, raised in one task, ends the loop of all.",
        "It ends one stream, with an error; the others go on.",
        _NOTHING,
        f"{_TROUBLE}::test_a_planted_exception_ends_one_stream",
    ),
)
