"""What a hostile server, or a careless setting, does not get to see or to do.

Keys in messages, records and pickles, redirects, ``~/.netrc`` and header injection are with the
client's tests, the bounds of memory with the faults.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest

import openai_stream
from openai_stream import Client, ConfigurationError
from openai_stream.testing import ScriptedServer, answer, chat_chunks

KEY = "sk-not-to-be-seen-anywhere"
CHUNKS = chat_chunks("Hello")


@pytest.mark.parametrize(
    "line", [b"%s quoted without a colon", b" %s, folded, first of all", b"X-A : %s"]
)
def test_header_lines_that_cannot_be_read_are_not_logged(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    whole = answer(CHUNKS, framing="close")
    assert isinstance(whole[0], bytes)
    start, _, rest = whole[0].partition(b"\r\n")
    server.play([b"\r\n".join([start, line.replace(b"%s", KEY.encode()), rest]), *whole[1:]])
    with Client(KEY, server.base_url, max_retries=0) as client:
        events = client.create_chat_completion(model="m", messages=[], stream=True)
        assert [event.to_dict() for event in events] == CHUNKS
    assert caplog.records
    assert KEY not in caplog.text


@pytest.mark.parametrize("proxy", ["http://me:pass-word@", "http://me:pass-word@:3128", "http://"])
def test_a_proxy_without_a_host(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with (
        Client(KEY, "http://far.invalid/v1", max_retries=0) as client,
        pytest.raises(ConfigurationError, match="proxy") as caught,
    ):
        client.create_chat_completion(model="m", messages=[])
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))


def test_certificates_are_always_verified() -> None:
    """Nothing of ours turns it off; ``S501`` of ruff looks for the same."""
    for file in Path(openai_stream.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "verify=False" not in text.replace(" ", "")
        assert "CERT_NONE" not in text
