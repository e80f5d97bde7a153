"""A program for ``test_imports``: prints what of ours other threads than the main one import."""

from __future__ import annotations

import importlib.abc
import sys
import threading
from typing import Any

_main = threading.current_thread()
_found: list[str] = []


class _Told(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.startswith("openai_stream") and threading.current_thread() is not _main:
            _found.append(fullname)


sys.meta_path.insert(0, _Told())

from openai_stream import Client, Fallback, testing  # noqa: E402

#: A way to fail each, of those that need no time.
FAULTS = (
    testing.cut(after=1),
    testing.malformed(),
    testing.error_event(),
    testing.html_page(),
    testing.server_error(),
    testing.rate_limited(),
    testing.corrupt_gzip(),
    testing.invalid_utf8(),
    testing.no_response(),
)


def main(readers: int | None) -> None:
    """Ask each endpoint for streams that end well, and otherwise."""
    with (
        testing.ScriptedServer() as server,
        Client("k", server.base_url, max_retries=0, readers=readers) as client,
    ):
        said = testing.chat_chunks("Hello")
        chats = [testing.answer(said), testing.answer(testing.tool_call_chunks(("weather", "{}")))]
        chats += [testing.answer(said, fault=fault) for fault in FAULTS]
        for script in chats:
            server.always(script)
            for more in ({}, {"restarts": 1}, {"fallbacks": [Fallback(model="n")]}):
                events = client.create_chat_completion(
                    model="m", messages=[], stream=True, nowait=True, **more
                )
                events.stream.exception(60)
                stream = client.create_chat_completion(
                    model="m", messages=[], stream=True, nowait=True, on_next=repr, **more
                )
                stream.exception(60)
        server.always(testing.answer(testing.completion_chunks("Hello")))
        client.create_completion(model="m", prompt="", stream=True, nowait=True).stream.result(60)
        server.always(testing.answer(testing.response_events("Hello"), done=False))
        for background in (False, True):
            client.create_response(
                model="m", input="", background=background, stream=True, nowait=True
            ).stream.result(60)
        server.always(testing.answer([{"piece": 1}]))
        client.stream("any", {}, nowait=True).stream.result(60)
    print(*_found)


if __name__ == "__main__":
    main(int(sys.argv[1]) or None)
