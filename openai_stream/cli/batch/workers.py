"""Who asks the prompts of a batch: streams of this process, which all share one queue.

``dask_workers`` has the other kind of :class:`Workers`.
"""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from openai_stream import DONE, OpenAIStreamError, Stream, Tagged
from openai_stream.cli.endpoints import ENDPOINTS, Endpoint, Reading, Tokens
from openai_stream.cli.targets import AnyClient

from .prompts import WHOLE, Prompt

__all__ = ["Answer", "Outcome", "Streams", "Work", "WorkerDied", "Workers", "start"]


@attrs.define(eq=False)
class Work:
    """A prompt that is to be asked.

    :param prompt: which.
    :param faults: how often that failed in a way that may pass.
    :param begun: what the gate said when it was asked last.
    :param guess: about how many tokens it was thought to take then.
    """

    prompt: Prompt
    faults: int = 0
    begun: int = 0
    guess: float = 0.0


@attrs.frozen
class Answer:
    """What is kept of an answer.

    :param response: as a line of answers has it.
    :param tokens: how many the server counted, ``None`` if it did not say.
    """

    response: dict[str, Any]
    tokens: Tokens | None

    @classmethod
    def of(cls, endpoint: Endpoint, stream: Stream[Any, Any]) -> Answer:
        """The answer of a stream that ended well."""
        whole = stream.result()
        return cls(
            {
                "status_code": stream.status_code,
                "request_id": stream.request_id,
                "body": whole.to_dict(),
            },
            endpoint.tokens(whole),
        )

    @classmethod
    def in_one_piece(cls, client: AnyClient, prompt: Prompt) -> Answer:
        """The answer of an endpoint that does not stream; it is waited for.

        :raises openai_stream.OpenAIStreamError: there is none.
        """
        body = client.post(prompt.path, prompt.body)
        usage = body.get("usage")
        asked = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return cls(
            {"status_code": 200, "request_id": None, "body": body},
            Tokens(asked, 0) if isinstance(asked, int) else None,
        )


@attrs.frozen
class Outcome:
    """What came of asking once: an answer, or an error."""

    work: Work
    answer: Answer | None = None
    error: Exception | None = None


class WorkerDied(Exception):
    """Who was to ask it is no more."""


class Workers(ABC):
    """Who asks prompts, each once and many at a time; what to do about an error others decide."""

    @abstractmethod
    def submit(self, work: Work) -> None:
        """Have a prompt asked."""

    @abstractmethod
    def outcome(self, timeout: float | None) -> Outcome | None:
        """Wait for what comes of one of them.

        :param timeout: seconds to wait at most; then it is ``None``.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop what is running."""


def start(client: AnyClient, prompt: Prompt, **streaming: Any) -> Any:
    """Ask a prompt.

    :param streaming: arguments of the call besides the request's.
    """
    endpoint = ENDPOINTS[prompt.path]
    create = endpoint.create(client)
    body = endpoint.with_usage(prompt.body)
    return create(stream=True, nowait=True, model=body.pop("model"), extra_body=body, **streaming)


class Streams(Workers):
    """The streams of one client, whose events all come through one queue.

    :param client: tries nothing again by itself.
    :param on_tokens: is told how many tokens came, or of some that were counted wrongly.
    :param on_headers: is given the headers of each response once it has begun, and how many
        requests have none yet.
    """

    def __init__(
        self,
        client: AnyClient,
        on_tokens: Callable[[int], object],
        on_headers: Callable[[Mapping[str, str], int], object],
    ) -> None:
        self._client = client
        self._on_tokens = on_tokens
        self._on_headers = on_headers
        self._items: queue.SimpleQueue[Tagged] = queue.SimpleQueue()
        self._streams: dict[Work, Stream[Any, Any]] = {}
        self._errors: dict[Work, Exception] = {}
        self._pieces: dict[Work, int] = {}
        self._readings: dict[Work, Reading] = {}
        # Those of which nothing has come yet.
        self._new: set[Work] = set()

    def submit(self, work: Work) -> None:
        if work.prompt.path in WHOLE:
            # Nobody waits for it at the end: such a call cannot be stopped.
            thread = threading.Thread(target=self._ask_whole, args=(work,), daemon=True)
            thread.start()
            return
        self._readings[work] = Reading(ENDPOINTS[work.prompt.path], work.prompt.body)
        try:
            self._streams[work] = start(self._client, work.prompt, queue=self._items, tag=work)
            self._new.add(work)
        except OpenAIStreamError as error:  # a body that JSON cannot carry
            self._items.put(Tagged(work, error))
            self._items.put(Tagged(work, DONE))

    def _ask_whole(self, work: Work) -> None:
        try:
            outcome = Outcome(work, Answer.in_one_piece(self._client, work.prompt))
        except OpenAIStreamError as error:
            outcome = Outcome(work, error=error)
        self._items.put(Tagged(work, outcome))

    def outcome(self, timeout: float | None) -> Outcome | None:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                tagged = self._items.get(timeout=left)
            except queue.Empty:
                return None
            work, item = tagged.tag, tagged.item
            if item is DONE:
                return self._ended(work)
            if isinstance(item, Outcome):
                return item
            if work in self._new:
                self._new.discard(work)
                headers = self._streams[work].headers
                if headers is not None:
                    self._on_headers(headers, len(self._new))
            if isinstance(item, Exception):
                self._errors[work] = item
            elif self._readings[work].text(item):
                # As good as a token, until the server tells.
                self._pieces[work] = self._pieces.get(work, 0) + 1
                self._on_tokens(1)

    def _ended(self, work: Work) -> Outcome:
        pieces = self._pieces.pop(work, 0)
        self._new.discard(work)
        del self._readings[work]
        stream = self._streams.pop(work, None)
        error = self._errors.pop(work, None)
        if stream is None or error is not None:
            return Outcome(work, error=error)
        answer = Answer.of(ENDPOINTS[work.prompt.path], stream)
        if answer.tokens is not None:
            self._on_tokens(answer.tokens.answer - pieces)
        return Outcome(work, answer)

    def close(self) -> None:
        for stream in list(self._streams.values()):
            stream.close()
