"""A call without a stream: one answer, read whole."""

from __future__ import annotations

from typing import Any, TypeVar

from .candidates import Candidate, Candidates
from .endpoints import Endpoint
from .errors import OpenAIStreamError, StreamDecodeError, StreamError
from .misframed import unframed
from .models import brought_by
from .redaction import Secrets
from .server_errors import api_error, clip, parse_leniently, says_failure
from .sse import begins_event_stream
from .strict_json import check_density, decode_json
from .transport import NetworkCall

__all__ = ["ask"]

W = TypeVar("W")


def ask(endpoint: Endpoint[Any, W], candidates: Candidates) -> W:
    """Make the call and wait for its answer.

    :param candidates: who may be asked.
    :raises OpenAIStreamError: there is none, or it says a failure.
    """
    call = NetworkCall(candidates.now.timeout, streaming=False)
    while True:
        try:
            return _answer(endpoint, candidates.now, call, candidates.secrets)
        except OpenAIStreamError as error:
            if isinstance(error, StreamError):
                error.url = candidates.now.where()
            if not candidates.move_on(error, call):
                raise


def _answer(
    endpoint: Endpoint[Any, W], candidate: Candidate, call: NetworkCall, secrets: Secrets
) -> W:
    response = candidate.open_whole(call)
    check_density(response.content, candidate.max_bytes, "answer")
    try:
        text = response.content.decode()
    except UnicodeDecodeError as error:
        raise StreamDecodeError(f"the server's answer is not UTF-8: {error.reason}") from error
    try:
        # Gateways that take every answer for a stream end this one as such.
        answer = decode_json(text.rstrip().removesuffix("data: [DONE]"))
    except StreamDecodeError as error:
        said = parse_leniently(unframed(text))
        if says_failure(said, body=True):
            raise api_error(said, secrets) from None
        if begins_event_stream(response.content):
            raise StreamDecodeError(
                "the server streamed though it was not asked to: call with stream=True",
                lasting=True,
            ) from error.__cause__
        head = clip(secrets(text), 40)
        raise StreamDecodeError(
            f"the server's answer is not JSON; it begins with {head!r}: is the base URL right?"
        ) from error.__cause__
    is_whole = isinstance(answer, dict) and endpoint.is_whole(answer)
    if says_failure(answer, body=True) and not (endpoint.stored and is_whole):
        raise api_error(answer, secrets, endpoint.whole(answer) if is_whole else None)
    if not isinstance(answer, dict):
        raise StreamDecodeError("the server's answer is JSON, but not an object")
    return brought_by(endpoint.whole(answer), response)
