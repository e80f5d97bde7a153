"""The body of a response over a real socket: what is said of a chunk that is wrong, and limits.

What chunks are as bytes, ``test_chunks`` has.
"""

from __future__ import annotations

from typing import Any

import pytest

from openai_stream import Client, StreamDecodeError, StreamInterruptedError
from openai_stream.errors import ASK_AGAIN
from openai_stream.testing import Fin, Hang, ScriptedServer, head


def ask(client: Client) -> Any:
    return client.create_chat_completion(model="m", messages=[])


CHUNKED = head(headers={"Transfer-Encoding": "chunked"})
LONG_LINE = b"a" * 100_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([b"2\r\n{}", Fin()], "the connection ended before the last chunk"),
        ([b"2\r\n{}\r\n", Fin()], "the connection ended before the last chunk"),
        ([b"2\r\n{}\r\n", b"2", Fin()], "the connection ended between two chunks"),
        ([b"2\r\n{}\r", Fin()], "the connection ended between two chunks"),
        ([b"2\r\n{}\r\n", LONG_LINE, Hang()], "a line without end between two chunks"),
        ([b"2\r\n{}}\r\n", Hang()], "a chunk is longer than its size"),
        ([b"2\r\n{}2\r\n{}\r\n", Hang()], "a chunk is longer than its size"),
        ([b"\r\n", Hang()], "a chunk without a size"),
        ([b"-2\r\n{}\r\n", Hang()], "a chunk without a size"),
        ([b";x=2\r\n{}\r\n", Hang()], "a chunk without a size"),
    ],
)
@pytest.mark.own_thread("it has no stream")
def test_what_is_wrong_with_a_chunk_is_said(
    server: ScriptedServer, client: Client, body: list[Any], said: str
) -> None:
    server.play([CHUNKED, *body])
    with pytest.raises(StreamInterruptedError) as caught:
        ask(client)
    assert str(caught.value) == (
        f"{server.base_url}/chat/completions: the connection broke before the answer was complete: "
        f"{said}. {ASK_AGAIN}"
    )


@pytest.mark.own_thread("it has no stream")
def test_chunk_extensions_are_skipped(server: ScriptedServer, client: Client) -> None:
    server.play([CHUNKED, b'6;a;b="2;3"\r\n{"id":\r\n', b'5 ; a=1\r\n "x"}\r\n0;c;d\r\n\r\n'])
    assert ask(client).id == "x"


@pytest.mark.own_thread("it has no stream")
def test_a_body_may_be_as_long_as_the_limit(server: ScriptedServer) -> None:
    body = b'{"id": "' + b"x" * 200_000 + b'"}'
    for limit in (len(body), len(body) - 1):
        server.play([head(headers={"Content-Length": str(len(body))}), body])
        with Client(api_key="k", base_url=server.base_url, max_event_bytes=limit) as client:
            if limit == len(body):
                assert ask(client).id == "x" * 200_000
            else:
                with pytest.raises(StreamDecodeError, match=f"longer than {limit} bytes"):
                    ask(client)


@pytest.mark.own_thread("it has no stream")
def test_a_length_that_is_said_twice_is_that_length(server: ScriptedServer) -> None:
    body = b'{"id": "x"}'
    server.play([head(headers={"Content-Length": f"{len(body)}, {len(body)}"}), body, Hang()])
    with Client(api_key="k", base_url=server.base_url, timeout=5.0) as client:
        assert ask(client).id == "x"


@pytest.mark.parametrize("size", [100, 40])
@pytest.mark.own_thread("it has no stream")
def test_says_how_much_of_a_body_is_missing(
    server: ScriptedServer, client: Client, size: int
) -> None:
    server.play([head(headers={"Content-Length": str(size)}), b"x" * 30, Fin()])
    with pytest.raises(StreamInterruptedError, match=f"the connection ended after 30 of {size}"):
        ask(client)


@pytest.mark.own_thread("it has no stream")
def test_a_kept_connection_serves_the_next_call_after_each_framing(
    server: ScriptedServer, client: Client
) -> None:
    body = b'{"id": "x"}'
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for _ in range(2):
        server.play([CHUNKED, chunked])
        server.play([head(headers={"Content-Length": str(len(body))}), body])
        assert ask(client).id == ask(client).id == "x"
    assert len({request.connection for request in server.requests}) == 1
