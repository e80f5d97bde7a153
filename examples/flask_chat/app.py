"""A chat page in the browser: the answer appears while it is written, and Stop stops the model.

An answer is a stream that belongs to the conversation, not to a page: it is asked for with
``replay=True``, and whoever looks at it, a reloaded page too, gets a queue of its own from
``subscribe()``, with every event from the first. What the browser gets are server-sent events, made
by ``event_stream``; after a cut it goes on where it was.

Conversations live in the memory of this one process. Run it with many threads, not processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import attrs
from flask import Flask, Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from openai_stream import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    ConfigurationError,
    EventQueue,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    Stream,
    StreamInterruptedError,
    StreamTimeoutError,
)
from openai_stream.local import LocalServer
from openai_stream.web import EVENT_STREAM_HEADERS, event_stream

COOKIE = "conversation"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-6-luna")
MAX_QUESTION = 20_000  # characters

log = logging.getLogger(__name__)


# Conversations -------------------------------------------------------------------------------


@attrs.frozen
class Said:
    """A question and what came of it, as the page shows it."""

    question: str
    answer: str
    #: ``running``, ``done``, ``stopped`` or ``failed``.
    state: str
    #: For the reader: why there is no more of it. Empty where there is nothing to say.
    note: str = ""


def as_messages(transcript: list[Said]) -> Iterator[dict[str, str]]:
    """What the model is told of it: what brought no answer is left out."""
    for said in transcript:
        if said.answer:
            yield {"role": "user", "content": said.question}
            yield {"role": "assistant", "content": said.answer}


class Turn:
    """A question, and the answer that is being written, or was the last one.

    The answer goes on while its readers come and go, as they do when a page is reloaded. When the
    last of them has stayed away for *grace* seconds, it is closed: nobody pays for an answer that
    nobody reads.
    """

    def __init__(
        self, question: str, stream: Stream[ChatCompletionChunk, ChatCompletion], grace: float
    ) -> None:
        self.question = question
        self.stream = stream
        self._grace = grace
        self._lock = threading.Lock()
        self._readers = 0
        self._left_alone = False
        self._expect_reader()

    @contextmanager
    def reader(self) -> Iterator[EventQueue[ChatCompletionChunk]]:
        """Every event from the first, for one more reader."""
        with self._lock:
            self._readers += 1
            self._timer.cancel()
        try:
            with self.stream.subscribe() as events:
                yield events
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers and self.stream.running():
                    self._expect_reader()

    def _expect_reader(self) -> None:
        self._timer = threading.Timer(self._grace, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self) -> None:
        with self._lock:
            if not self._readers and self.stream.running():
                self._left_alone = True
                self.stream.close()

    def close(self) -> None:
        """Stop the answer: its reader gets the end, and the model's server is told."""
        self._timer.cancel()
        self.stream.close()

    def said(self) -> Said:
        """How it stands now."""
        choices = self.stream.snapshot().choices
        answer = (choices[0].message.content or "") if choices else ""
        state, note = self._outcome(choices[0].finish_reason if choices else None)
        return Said(self.question, answer, state, note)

    def _outcome(self, finish_reason: str | None) -> tuple[str, str]:
        if self.stream.running():
            return "running", ""
        if self.stream.cancelled():
            return "stopped", "Stopped: nobody was reading." if self._left_alone else "Stopped."
        if (error := self.stream.exception()) is not None:
            return "failed", in_words(error)
        notes = {
            "length": "The answer has reached the greatest length that the model is allowed.",
            "content_filter": "The rest was held back by the content filter of the model's server.",
        }
        return "done", notes.get(finish_reason or "", "")


class Conversation:
    """Questions and answers of one browser. Every method may be called from any thread."""

    def __init__(self) -> None:
        self.used = time.monotonic()
        self._lock = threading.Lock()
        self._said: list[Said] = []
        self._turn: Turn | None = None

    def turn(self, number: int) -> Turn | None:
        """The turn of that number, if it is the newest: of those before, the text is enough."""
        with self._lock:
            return self._turn if number == len(self._said) else None

    def ask(self, question: str, client: Client, model: str, grace: float) -> int:
        """Begin a turn, and give its number; returns before the model's server has answered."""
        with self._lock:
            if self._turn is not None and self._turn.stream.running():
                abort(409, "There is an answer under way. Stop it before you ask again.")
            said = self._all_said()
            events = client.create_chat_completion(
                model=model,
                messages=[*as_messages(said), {"role": "user", "content": question}],
                stream=True,
                replay=True,
                nowait=True,
                on_error=lambda error: log.warning("an answer failed: %s", error),
            )
            # Of the turns before, the text is enough; their events go.
            self._said, self._turn = said, Turn(question, events.stream, grace)
            return len(said)

    def _all_said(self) -> list[Said]:
        return [*self._said, *([] if self._turn is None else [self._turn.said()])]

    def transcript(self) -> list[Said]:
        """All that was said, the newest last."""
        with self._lock:
            return self._all_said()

    def close(self) -> None:
        """Stop the answer that is under way, if one is."""
        with self._lock:
            if self._turn is not None:
                self._turn.close()


class Conversations:
    """The conversations, by an id that nobody can guess.

    One that was not used for *keep* seconds is dropped, and its text with it.
    """

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._by_id: dict[str, Conversation] = {}

    def new(self) -> tuple[str, Conversation]:
        """A new one, and its id."""
        self._drop_old()
        name, conversation = secrets.token_urlsafe(24), Conversation()
        with self._lock:
            self._by_id[name] = conversation
        return name, conversation

    def get(self, name: str | None) -> Conversation | None:
        """The one of that id, if it is still there."""
        self._drop_old()
        with self._lock:
            conversation = self._by_id.get(name or "")
        if conversation is not None:
            conversation.used = time.monotonic()
        return conversation

    def forget(self, name: str) -> None:
        """Drop that one, and stop what it is doing."""
        with self._lock:
            conversation = self._by_id.pop(name, None)
        if conversation is not None:
            conversation.close()

    def close(self) -> None:
        """Drop all of them."""
        for name in list(self._by_id):
            self.forget(name)

    def _drop_old(self) -> None:
        before = time.monotonic() - self._keep
        with self._lock:
            old = [name for name, one in self._by_id.items() if one.used < before]
        for name in old:
            self.forget(name)


def in_words(error: BaseException) -> str:
    """What the reader of the page should know of it; the rest is for the log.

    The text of an exception is written for developers, and names the server's address.
    """
    if isinstance(error, RateLimitError):
        if error.code == "insufficient_quota":
            return "The account that pays for the model has nothing left."
        if error.retry_after is not None:
            return (
                f"The model is busy. It asks to be left alone for {_duration(error.retry_after)}."
            )
        return "The model is busy. Try again in a moment."
    if isinstance(error, APIStatusError) and error.code == "context_length_exceeded":
        return "The conversation is too long for the model. Begin a new one."
    sentences: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
        (
            (AuthenticationError, PermissionDeniedError),
            "The model's server does not accept this site's key. Only those who run the site can "
            "mend that.",
        ),
        (NotFoundError, "The model's server does not have the model that this site asks for."),
        (InternalServerError, "The model's server is in trouble. Try again in a moment."),
        (APIStatusError, "The model's server has refused the question."),
        (APIConnectionError, "The model's server cannot be reached. Try again in a moment."),
        (StreamInterruptedError, "The connection to the model broke off: the answer is not whole."),
        (StreamTimeoutError, "The model fell silent: the answer is not whole."),
    ]
    for kinds, sentence in sentences:
        if isinstance(error, kinds):
            return sentence
    return "Something went wrong at the model's server: the answer is not whole."


def _duration(seconds: float) -> str:
    if seconds > 90:
        return f"{seconds / 60:.0f} minutes"
    return "a second" if seconds <= 1 else f"{seconds:.0f} seconds"


# The site ------------------------------------------------------------------------------------


def told(turn: Turn, last_event_id: str | None) -> Iterator[bytes]:
    """The answer as server-sent events, for one more reader.

    :param last_event_id: what the browser had when its connection was cut.
    """
    with turn.reader() as events:
        yield from event_stream(events, last_event_id, error_text=in_words)


def create_app(
    client: Client | None = None,
    model: str = MODEL,
    *,
    grace: float = 30,
    keep: float = 3600,
) -> Flask:
    """The site.

    :param client: who is asked; it may be shared. ``None``: made from the environment.
    :param model: the model's name.
    :param grace: seconds that an answer goes on when its page has gone: long enough for a reload.
    :param keep: seconds without use after which a conversation is dropped.
    """
    asked = Client() if client is None else client
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 8 * MAX_QUESTION
    conversations = app.extensions["conversations"] = Conversations(keep)

    def current() -> Conversation | None:
        return conversations.get(request.cookies.get(COOKIE))

    def sent() -> dict[str, object]:
        # A form of another site can send a cookie along, but no JSON: that is refused with 415.
        body = request.get_json()
        return body if isinstance(body, dict) else abort(400, "That was no JSON object.")

    @app.get("/")
    def page() -> ResponseReturnValue:
        conversation = current()
        transcript = [] if conversation is None else conversation.transcript()
        return render_template("chat.html", transcript=transcript, model=model)

    @app.post("/ask")
    def ask() -> ResponseReturnValue:
        question = sent().get("question")
        if not isinstance(question, str) or not question.strip():
            abort(400, "There is no question.")
        if len(question) > MAX_QUESTION:
            abort(413, f"A question may have {MAX_QUESTION:,} characters, and no more.")
        name, conversation = request.cookies.get(COOKIE), current()
        known = conversation is not None
        if conversation is None:
            name, conversation = conversations.new()
        number = conversation.ask(question.strip(), asked, model, grace)
        response = jsonify(known=known, number=number)
        response.set_cookie(
            COOKIE, name or "", httponly=True, samesite="Lax", secure=request.is_secure
        )
        return response

    @app.get("/answers/<int:number>")
    def answer(number: int) -> ResponseReturnValue:
        conversation = current()
        turn = None if conversation is None else conversation.turn(number)
        if turn is None:
            abort(404, "That answer is not there.")
        body = told(turn, request.headers.get("Last-Event-ID"))
        return Response(body, headers=EVENT_STREAM_HEADERS)

    @app.post("/stop")
    def stop() -> ResponseReturnValue:
        sent()
        conversation = current()
        if conversation is not None:
            conversation.close()
        return jsonify()

    @app.post("/new")
    def new() -> ResponseReturnValue:
        sent()
        conversations.forget(request.cookies.get(COOKIE, ""))
        return jsonify()

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> ResponseReturnValue:
        return jsonify(error=error.description), error.code or 500

    @app.after_request
    def guarded(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store, no-transform"
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def main() -> int:
    """Run the site on this machine."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--local", action="store_true", help="a small model on this machine")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--port", type=int, default=5000, help="0: any that is free")
    options = parser.parse_args()
    with ExitStack() as stack:
        try:
            if options.local:
                server = stack.enter_context(LocalServer())
                # No key of the environment has any business there.
                client = Client(api_key="none", base_url=server.base_url)
                options.model = server.model
            else:
                client = Client()
        except (ConfigurationError, APIConnectionError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        app = create_app(stack.enter_context(client), options.model)
        stack.callback(app.extensions["conversations"].close)
        # Another site's name that points to this machine is not ours.
        app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]
        app.run("127.0.0.1", options.port, threaded=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
