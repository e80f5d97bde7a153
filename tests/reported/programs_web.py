"""Web servers, proxies, browsers and the AI SDK, around a stream that is sent to a page."""

from __future__ import annotations

from .row import Situation

_EVENTS = "tests/web/test_event_stream.py"
_UI = "tests/web/test_ui_messages.py"
_NOTHING = "there was nothing for web pages"

ROWS: tuple[Situation, ...] = (
    Situation(
        "a visitor leaves while the model is silent",
        "pallets/werkzeug#1649",
        "The browser is closed; the response has nothing to send, so nobody notices.",
        "A comment is due after 15 seconds; the write fails, and the model's server is told.",
        _NOTHING,
        "tests/web/test_servers.py::test_the_model_is_told_when_nobody_reads",
    ),
    Situation(
        "a server or middleware that forgets close()",
        "emmett-framework/granian#29",
        "The iterator of a response is dropped, read in part or not at all.",
        "The stream is closed, also if the site holds it for its Stop button.",
        _NOTHING,
        f"{_EVENTS}::test_one_that_is_dropped_closes_the_stream",
    ),
    Situation(
        "HEAD asks a page that streams",
        "Pylons/webob#74",
        "The body is made, and not read.",
        "It is closed, and the model's server is told.",
        _NOTHING,
        "tests/web/test_servers.py::test_head_leaves_no_stream",
    ),
    Situation(
        "a proxy compresses the page's events",
        "Mng-dev-ai/agentrove#869",
        "Traefik, Caddy or a middleware collects a block before it compresses.",
        "The headers forbid to change the body (no-transform), and nginx to collect it.",
        _NOTHING,
        f"{_EVENTS}::test_the_headers_forbid_what_holds_events_up",
    ),
    Situation(
        "a header that WSGI forbids",
        "camptocamp/c2cgeoportal#1394",
        "A response for events sets Connection: keep-alive; waitress refuses it.",
        "No hop-by-hop header is among those for the view.",
        _NOTHING,
        f"{_EVENTS}::test_keeps_to_the_standard_of_wsgi",
    ),
    Situation(
        "a browser that comes back gets everything again",
        "feder-cr/invisible_playwright_mcp#1263",
        "An EventSource connects again after a cut, with the id of what it had last.",
        "It gets what comes after that, once.",
        _NOTHING,
        f"{_EVENTS}::test_begins_after_the_cursor",
    ),
    Situation(
        "ids of what is not an event",
        "NVIDIA-AI-Blueprints/aiq#272",
        "Frames about the stream itself carry made-up ids, and the cursor overshoots.",
        "Only items are numbered; the end and an error have no id of their own.",
        _NOTHING,
        f"{_EVENTS}::test_gives_each_event_with_its_number_and_then_the_end",
    ),
    Situation(
        "an event that is named error",
        "sourcegraph/sourcegraph-public-snapshot#15620",
        "EventSource calls a lost connection error, too.",
        "The event is called failed; no event of the model's has a name.",
        _NOTHING,
        f"{_EVENTS}::test_takes_no_name_of_a_foreign_event_for_its_own",
    ),
    Situation(
        "characters at which Python breaks lines",
        "fastapi/fastapi#15515",
        "The text has U+2028, U+0085 or a carriage return, and is cut into lines.",
        "Data is JSON in ASCII, in one line.",
        _NOTHING,
        f"{_EVENTS}::test_carries_any_text_in_one_line",
    ),
    Situation(
        "text after a tool call, for useChat",
        "pydantic/pydantic-ai#8208",
        "A newline comes after the call; the block of the text was closed before it.",
        "A new block is opened: the AI SDK refuses a delta without one.",
        _NOTHING,
        f"{_UI}::test_closes_each_block_before_the_next",
    ),
    Situation(
        name="A visitor leaves a page of Starlette's",
        source="NVIDIA/OSMO#1317",
        situation="Starlette forgets the iterator of a plain def view, in a circle, unclosed.",
        right="A response of ten lines closes it, as the page on asyncio shows.",
        before="the page said that the generator ends",
        test="tests/test_docs.py::test_the_blocks_of",
    ),
)
