"""What a server says when it says no, from whichever place: a status, a body, an event.

One reader for all of them: what was said, of which type, under which code, and the error of ours
that carries it. Where the JSON came from, and what to do about the error, others know.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
import requests.structures

from . import errors
from .errors import APIStatusError, StreamAPIError, StreamDecodeError
from .redaction import cleaned, cleaned_headers
from .sse import decode_json

__all__ = [
    "api_error",
    "clip",
    "error_fields",
    "parse_leniently",
    "retry_after",
    "status_error",
]

_HINTS = {
    401: "Is the API key right?",
    404: "Are the model's name and the base URL right?",
    429: "Slow down, or look at the account's limits",
}


def status_error(
    response: requests.Response, text: str, where: str, clean: Callable[[str], str], keyed: bool
) -> APIStatusError:
    """The error for a response whose status says no.

    :param text: its body.
    :param where: what was asked.
    :param clean: takes secrets out.
    :param keyed: whether a key was sent.
    """
    status = response.status_code
    body: Any = clean(text) or None
    with contextlib.suppress(ValueError, RecursionError):
        body = cleaned(json.loads(text), clean)
    said, kind, code = error_fields(body)
    said = said or (body if isinstance(body, str) else json.dumps(body) if body else None)
    headers = requests.structures.CaseInsensitiveDict(cleaned_headers(response.headers, clean))
    request_id = headers.get("x-request-id")
    message = f"{where}: {status} {clean(response.reason or '')}".rstrip()
    if said:
        message += f": {clip(said)}"
    if named := ", ".join(part for part in (kind, code) if part):
        message += f" ({named})"
    if status == 400 and "stream_options" in text:
        message += ". This server does not take stream_options: leave it out"
    elif status == 401 and not keyed:
        message += ". No API key was sent: set OPENAI_API_KEY, or pass api_key=…"
    elif hint := _HINTS.get(status):
        message += f". {hint}"
    if request_id:
        message += f" [request {request_id}]"
    return errors.status_error(status)(
        message,
        status_code=status,
        body=body,
        code=code,
        type=kind,
        request_id=request_id,
        headers=headers,
        retry_after=retry_after(response.headers),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, else ``Retry-After`` (RFC 9110)."""
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, OverflowError):
        if date := email.utils.parsedate_tz(value):
            return max(0.0, email.utils.mktime_tz(date) - time.time())
    return None


def parse_leniently(text: str) -> Any:
    """The data of an error event: JSON, or whatever text the server had to say."""
    try:
        return decode_json(text)
    except StreamDecodeError:
        return text


def error_fields(body: Any) -> tuple[str | None, str | None, str | None]:
    """Message, type and code of an error, in any of the shapes that servers give them.

    ``{"error": {"message": …}}`` (OpenAI), the same in ``response`` (OpenAI's ``response.failed``),
    ``{"error": "…"}``, ``{"message": …}`` (vLLM), ``{"detail": …}`` (FastAPI), or plain text.
    """
    error = body
    if isinstance(body, dict):
        if isinstance(body.get("response"), dict):  # "response.failed"
            body = body["response"]
        if body.get("error") is not None:
            error = body["error"]
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else None), None, None
    said = next((v for k in ("message", "detail") if isinstance(v := error.get(k), str)), None)
    kind, code = error.get("type"), error.get("code")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    return said, kind if isinstance(kind, str) else None, code if isinstance(code, str) else None


def api_error(body: Any, clean: Callable[[str], str]) -> StreamAPIError:
    """The error that a server sent in a good response: an object, a string, or an event.

    :param clean: takes secrets out, should the server have quoted them.
    """
    try:
        body = cleaned(body, clean)
    except RecursionError:
        body = None  # JSON that could just be read, and says nothing that deep
    said, kind, code = error_fields(body)
    named = ", ".join(part for part in (kind, code) if part)
    return StreamAPIError(
        "the server sent an error in its answer: "
        + (clip(said) if said else "without a message")
        + (f" ({named})" if named else ""),
        code=code,
        type=kind,
        body=body,
    )


def clip(text: str, length: int = 500) -> str:
    """Text of the server's, short enough for a message."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
