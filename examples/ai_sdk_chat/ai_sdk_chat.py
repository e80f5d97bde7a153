"""A chat page with the ``useChat`` of Vercel's AI SDK, answered by a Flask view.

An answer is a stream that belongs to the chat, not to a page: a page that is reloaded asks for it
again and gets it from the first chunk. Stop is an address of its own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from flask import Flask, Response, abort, request
from flask.typing import ResponseReturnValue

from openai_stream import (
    APIConnectionError,
    Client,
    ConfigurationError,
    RateLimitError,
    Stream,
    StreamInterruptedError,
)
from openai_stream.web import UI_MESSAGES_HEADERS, ui_messages

MODEL = os.environ.get("OPENAI_MODEL", "gpt-6-luna")

PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<link rel="icon" href="data:,">
<div id="root"></div>
<script src="/static/page.js"></script>
"""


def in_words(error: BaseException) -> str:
    """What the page shows of an error."""
    if isinstance(error, RateLimitError):
        return "The model is busy. Try again in a moment."
    if isinstance(error, APIConnectionError):
        return "The model's server cannot be reached."
    if isinstance(error, StreamInterruptedError):
        return "The connection to the model broke off: the answer is not whole."
    return "Something went wrong at the model's server."


def as_messages(sent: Any) -> list[dict[str, str]]:
    """What the model is told of the page's messages: their text."""
    if not isinstance(sent, list):
        abort(400, "There are no messages.")
    return [
        {
            "role": message["role"],
            "content": "".join(part["text"] for part in message["parts"] if part["type"] == "text"),
        }
        for message in sent
    ]


def create_app(client: Client, model: str = MODEL) -> Flask:
    """The site. Its answers live in this process: run it with many threads, not processes."""
    app = Flask(__name__)
    streams: dict[str, Stream[Any, Any]] = app.extensions.setdefault("streams", {})

    def sent(stream: Stream[Any, Any]) -> Response:
        # A subscription: the answer goes on when this page is gone.
        body = ui_messages(stream.subscribe(), error_text=in_words)
        return Response(body, headers=UI_MESSAGES_HEADERS)

    @app.get("/")
    def page() -> ResponseReturnValue:
        return PAGE

    @app.post("/api/chat")
    def chat() -> ResponseReturnValue:
        asked = request.get_json()
        events = client.create_chat_completion(
            model=model,
            messages=as_messages(asked.get("messages")),
            stream=True,
            replay=True,
            nowait=True,
        )
        if (before := streams.get(asked["id"])) is not None:
            before.close()
        stream = streams[asked["id"]] = events.stream
        return sent(stream)

    @app.get("/api/chat/<chat_id>/stream")
    def resume(chat_id: str) -> ResponseReturnValue:
        stream = streams.get(chat_id)
        if stream is None:
            return "", 204  # there is nothing to resume
        return sent(stream)

    @app.post("/api/chat/<chat_id>/stop")
    def stop(chat_id: str) -> ResponseReturnValue:
        if (stream := streams.get(chat_id)) is not None:
            stream.close()
        return "", 204

    return app


def main() -> int:
    """Run the site on this machine."""
    try:
        client = Client()
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with client:
        create_app(client).run("127.0.0.1", 5000, threaded=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
