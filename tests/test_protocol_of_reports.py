"""Each report and each quirk as bytes, however they are cut: the same events, and the same end.

The bytes are taken from the server once; from there on these are plain asserts on bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import urllib3
from helpers import JSON
from quirks import QUIRKS
from reports import REPORTS

from openai_stream.endpoints import (
    CHAT_COMPLETIONS,
    COMPLETIONS,
    RESPONSES,
    Endpoint,
    any_endpoint,
)
from openai_stream.errors import OpenAIStreamError
from openai_stream.protocol import StreamProtocol
from openai_stream.testing import Script, ScriptedServer

ENDPOINTS: dict[str, Endpoint[Any, Any]] = {
    "chat": CHAT_COMPLETIONS,
    "completions": COMPLETIONS,
    "responses": RESPONSES,
    "any": any_endpoint("/any"),
}
LIMIT = 32 * 1024 * 1024
LONGEST = 400  # bytes of a body that is cut in two at each place
SOME = 60  # places, of a longer one

STREAMS: dict[str, tuple[str, Script]] = {
    **{report.name: (report.endpoint, report.sent) for report in REPORTS if report.stream},
    **{f"quirk: {quirk.name}": ("chat", quirk.script) for quirk in QUIRKS},
}


def body_of(server: ScriptedServer, script: Script) -> tuple[bytes, str] | None:
    """What a body has, as far as it comes, and its content type; ``None`` if it is no answer."""
    server.play(script)
    with urllib3.PoolManager(retries=False) as pool:
        try:
            response = pool.request(
                "POST", f"{server.base_url}/x", body=b"{}", preload_content=False, timeout=0.2
            )
        except urllib3.exceptions.HTTPError:
            return None
        read = bytearray()
        try:
            while block := response.read1():
                read += block
        except (urllib3.exceptions.HTTPError, OSError):
            pass  # cut, or silent
        finally:
            response.close()
    is_answer = 200 <= response.status < 300
    return (bytes(read), response.headers.get("content-type", "")) if is_answer else None


def cuts(body: bytes) -> Iterator[Sequence[bytes]]:
    """Byte by byte, in two pieces at many places, and in pieces of any size."""
    draw = random.Random(len(body))  # noqa: S311
    if len(body) < 20_000:
        yield [body[at : at + 1] for at in range(len(body))]
    places: Sequence[int] = range(1, len(body))
    for at in places if len(body) <= LONGEST else draw.sample(places, SOME):
        yield [body[:at], body[at:]]
    for longest in (3, 40, 700):
        pieces, at = [], 0
        while at < len(body):
            size = draw.randint(1, longest)
            pieces.append(body[at : at + size])
            at += size
        yield pieces


def fed(endpoint: Endpoint[Any, Any], kind: str, blocks: Sequence[bytes], framed: bool) -> Any:
    """The events, the end and the sum."""
    accumulator = endpoint.accumulator()
    protocol = StreamProtocol(endpoint, accumulator, LIMIT, kind)
    events: list[Any] = []
    error: OpenAIStreamError | None = None
    try:
        for block in blocks:
            events.extend(map(plain, protocol.feed(block)))
            if protocol.ended:
                break
        if not protocol.ended:
            events.extend(map(plain, protocol.end(framed)))
        protocol.finish()
    except OpenAIStreamError as caught:
        error = caught
    end = None if error is None else (type(error), str(error), error.retryable)
    return events, end, plain(endpoint.whole(accumulator.snapshot())), protocol.ended


def plain(value: Any) -> JSON:
    return value.to_dict() if hasattr(value, "to_dict") else {"value": repr(value)}


@pytest.mark.parametrize("name", STREAMS)
def test_the_places_of_the_cuts_make_no_difference(server: ScriptedServer, name: str) -> None:
    where, script = STREAMS[name]
    if (sent := body_of(server, script)) is None or not sent[0]:
        return
    body, kind = sent
    for framed in (True, False):
        right = fed(ENDPOINTS[where], kind, [body], framed)
        for blocks in cuts(body):
            assert fed(ENDPOINTS[where], kind, blocks, framed) == right, blocks
