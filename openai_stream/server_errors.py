"""What a server says when it says no, from whichever place: a status, a body, an event, a line.

One rule for whether JSON says that the server failed (:func:`says_failure`), and one reader of what
it says: the words, the type, the code (:func:`error_fields`), whatever the shape. Where the JSON
came from, and what to do about the error, others know.
"""

from __future__ import annotations

import contextlib
import email.utils
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from .errors import StreamAPIError, StreamDecodeError
from .redaction import cleaned
from .retrying import failed_reason
from .strict_json import decode_json

__all__ = [
    "api_error",
    "clip",
    "error_fields",
    "parse_leniently",
    "retry_after",
    "says_error",
    "says_failure",
]

JSON = dict[str, Any]

# Is this a failure? ---------------------------------------------------------------------------

#: What a field that may hold a code says when all is well, lower case.
_ALL_WELL = frozenset({"", "0", "200", "ok", "success"})
_WORDS = ("message", "msg", "error_message", "error_description", "status_msg")
_CODES = ("code", "error_code", "status_code")
#: Where words may be, should there be none in the fields that are for them.
_OTHER_WORDS = ("detail", "details", "errors", "reason", "description", "title")
#: What one means by a name, however it is written: without underscores, in lower case.
_MEANT = {name.replace("_", ""): name for name in (*_WORDS, *_CODES, "error_type")} | {
    "errormsg": "msg",
    "errmsg": "msg",
    "errcode": "error_code",
    "error": "error",
    "exception": "error",
    "fault": "error",
    "faultstring": "message",
    "response": "response",
    "errortype": "error_type",
}
#: Names that may stand beside words in an object that says nothing else.
_BESIDE_WORDS = frozenset({"request_id", "requestId", "RequestId", "trace_id", "usage", "choices"})
#: Fields by which an event or a body has something of an answer, however little.
_ANSWERS = ("choices", "output", "text", "delta")
_DEPTH = 8  # levels that are looked into for the words: nobody says anything that deep


def says_failure(data: Any, *, known: bool = True, body: bool = False) -> bool:
    """Whether JSON from a server, an event or a body, says that the server failed.

    * an ``error`` that is not void, at the top or in a choice, whatever is beside it; void is
      null, false, 0, an empty text, list or object, and an object of nothing else;
    * a choice that ended because of an error;
    * ``base_resp.status_code`` that is not 0 (MiniMax);
    * a response whose ``status`` is ``failed``;
    * where there is nothing of an answer: ``"object"`` or ``"type"`` that is ``"error"``; a code
      that does not say that all is well, with words; ``error_code``, ``error_type`` or
      ``error_message``; ``success: false`` with words; ``detail``; a ``status`` that is ``failed``;
      a name that ends in "exception". Names may be written in any way: ``errorMessage``,
      ``Error``, ``errmsg``;
    * a body of a message and nothing else.

    :param known: the endpoint's own events have a known form. What other endpoints send is
        anybody's guess: there only what can mean nothing else counts.
    :param body: it is a whole body, not an event among others.
    """
    if type(data) is list:  # Gemini's
        return bool(data) and all(type(item) is dict and says_error(item) for item in data)
    if type(data) is not dict:
        return False
    if says_error(data):
        return True
    base = data.get("base_resp")
    if type(base) is dict and not _is_well(base.get("status_code")):
        return True
    choices = data.get("choices")
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict and (says_error(choice) or failed_reason(choice)):
                return True
    if data.get("object") == "response" and data.get("status") == "failed":
        return True
    if any(data.get(name) for name in _ANSWERS):
        return False
    if data.get("object") == "error" or data.get("type") == "error":
        return True
    return known and (_says_otherwise(data) or (body and _has_only_words(data)))


def says_error(data: JSON) -> bool:
    """Whether an object has an ``error`` that is not void."""
    return "error" in data and not _is_void(data["error"])


def _says_otherwise(data: JSON) -> bool:
    """Whether an object without anything of an answer says in another way that the server failed.

    What has a type of its own, as all events of ``/responses`` do, is none of these.
    """
    kind = data.get("type")
    if type(kind) is str and kind.startswith("response."):
        return False
    named = _named(data)
    inner = named.get("response")
    if says_error(named) or (type(inner) is dict and says_error(_named(inner))):
        return True
    if not _is_void(named.get("detail")) or not _is_void(named.get("error_message")):
        return True
    if not all(_is_well(named.get(name)) for name in ("error_code", "error_type")):
        return True
    words = any(_text(named.get(name)) for name in (*_WORDS, "errors"))
    if named.get("success") is False and (words or not _is_void(named.get("errors"))):
        return True
    status = named.get("status")
    if not words:
        return status == "failed"
    return not all(_is_well(named.get(name)) for name in _CODES) or _is_bad(status)


def _has_only_words(data: JSON) -> bool:
    said = data.keys() - _BESIDE_WORDS
    return {_MEANT.get(_letters(name)) for name in said} == {"message"} and any(
        _text(data[name]) for name in said
    )


def _letters(name: str) -> str:
    return name.replace("_", "").lower()


def _named(data: JSON) -> JSON:
    """An object by the names that are meant by those that it has."""
    named: JSON = {}
    for name, value in data.items():
        letters = _letters(name)
        meant = _MEANT.get(letters, name)
        if type(value) is dict and letters.endswith("exception"):  # one of Amazon's
            meant = "error"
        if meant == name or _is_void(named.get(meant)):
            named[meant] = value
    return named


def _is_bad(status: Any) -> bool:
    """Whether a status, of whatever kind, is a bad one."""
    if type(status) is str:
        return status.lower() in ("error", "failed", "failure", "fail")
    return type(status) is int and 400 <= status < 600


def _is_well(code: Any) -> bool:
    """Whether a code says that all is well, or is none."""
    if type(code) is str:
        return code.strip().lower() in _ALL_WELL
    if type(code) in (int, float):
        return code in (0, 200)
    return code is None or code is False or type(code) in (list, dict)


def _is_void(value: Any, depth: int = _DEPTH) -> bool:
    if type(value) is dict and depth:
        return all(_is_void(item, depth - 1) for item in value.values())
    return not value


# What does it say? ----------------------------------------------------------------------------


@attrs.define(eq=False, repr=False)
class _Said:
    """What was found so far, from the outside in; what is further in is nearer to the cause."""

    words: list[str] = attrs.field(factory=list)
    kind: str | None = None
    code: str | None = None

    def read(self, value: Any, depth: int = _DEPTH) -> None:
        """Take in what a value says, of whatever type it is."""
        if type(value) is str:
            self.say(value, depth)
        elif type(value) is list and depth:
            for item in value[:3]:
                if type(item) in (str, dict, list):
                    self.read(item, depth - 1)
        elif type(value) is dict and depth:
            self._read_object(value, depth - 1)

    def say(self, text: str, depth: int = 0) -> None:
        """Take in words, but for what was said already."""
        text = text.strip()
        if text[:1] in ("{", "[") and depth:  # one that was passed on, as text
            inner = parse_leniently(text)
            if type(inner) is not str:
                before = len(self.words)
                self._read_inside(inner, depth - 1)
                if len(self.words) > before:
                    return
        if text and not any(text in said for said in self.words):
            self.words = [said for said in self.words if said not in text]
            self.words.append(text)

    def _read_object(self, value: JSON, depth: int) -> None:
        value = _named(value)
        for name in ("error_type", "type", "__type", "status"):
            kind = value.get(name)
            # Others name the event, or its state, not the error: Google's status is in capitals.
            if (
                type(kind) is str
                and kind not in ("", "error")
                and not kind.startswith("response.")
                and (name != "status" or kind.isupper())
            ):
                self.kind = kind
                break
        for name in _CODES:
            code = _code(value.get(name))
            if code is not None:
                self.code = code
                break
        error = value.get("error")
        spoken = any(_text(value.get(name)) for name in _WORDS)
        if type(error) is str and spoken and " " not in error.strip() and self.kind is None:
            self.kind = error  # the name of it, beside the words
        else:
            if self.code is None and error.__class__ in (int, float):
                self.code = _code(error)
            self.read(error, depth)
        for name in _WORDS:
            if not _is_void(value.get(name)):
                self.read(value[name], depth)
        if not self.words:
            for name in _OTHER_WORDS:
                self.read(value.get(name), depth)
        for name in ("response", "base_resp"):
            self.read(value.get(name), depth)
        metadata = value.get("metadata")  # OpenRouter's: what the provider behind it said
        if type(metadata) is dict and metadata.get("raw"):
            self._read_inside(metadata["raw"], depth)
        choices = value.get("choices")
        if type(choices) is list:
            for choice in choices:
                if type(choice) is dict and (says_error(choice) or failed_reason(choice)):
                    self.read(choice.get("error"), depth)
                    if not self.words and (reason := failed_reason(choice)):
                        self.say(f"finish_reason {reason!r}")

    def _read_inside(self, value: Any, depth: int) -> None:
        """Take in the words of another error, whose type and code are another server's."""
        inside = _Said()
        inside.read(value, depth)
        for text in inside.words:
            self.say(text)
        self.kind = self.kind or inside.kind
        self.code = self.code or inside.code


def error_fields(body: Any) -> tuple[str | None, str | None, str | None]:
    """Message, type and code of an error, in any of the shapes that servers give them.

    ``{"error": {"message": …}}`` (OpenAI), the same in ``response`` (OpenAI's ``response.failed``)
    or in a choice, ``{"error": "…"}``, ``{"message": …}`` (vLLM), ``{"detail": …}`` (FastAPI),
    ``{"errors": […]}`` (Cloudflare), ``{"base_resp": …}`` (MiniMax), one in the other, lists of
    them, or plain text.
    """
    found = _Said()
    found.read(body)
    return ": ".join(found.words[:3]) or None, found.kind, found.code


def _text(value: Any) -> bool:
    return type(value) is str and bool(value.strip())


def _code(value: Any) -> str | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) in (int, float):
        return str(value)
    return value if _text(value) else None


def parse_leniently(text: str) -> Any:
    """What a server says: JSON, or whatever text it has to say."""
    try:
        return decode_json(text)
    except StreamDecodeError:
        return text


def api_error(body: Any, clean: Callable[[str], str], snapshot: Any = None) -> StreamAPIError:
    """The error that a server sent in a good response: an object, a string, or an event.

    :param clean: takes secrets out, should the server have quoted them.
    :param snapshot: what had come, where the caller alone knows.
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
        + (f" ({clip(named, 100)})" if named else ""),
        code=code,
        type=kind,
        body=body,
        snapshot=snapshot,
    )


def clip(text: str, length: int = 500) -> str:
    """Text of the server's, short enough for a message, on one line and without control characters
    and lone surrogates.
    """
    text = " ".join(text[: 4 * length].split())
    if not text.isprintable():
        text = "".join(one for one in text if one.isprintable())
    return text if len(text) <= length else text[: length - 1] + "…"


# When to ask again ----------------------------------------------------------------------------

_SECONDS = r"(?a)\s*(\d{1,12}(?:\.\d*)?|\.\d+)\s*"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, else ``Retry-After`` (RFC 9110).

    :returns: ``None`` for what is neither a number of seconds nor a date that is still to come.
    """
    if number := re.fullmatch(_SECONDS, headers.get("retry-after-ms", "")):
        return float(number[1]) / 1000
    value = headers.get("retry-after", "")
    if number := re.fullmatch(_SECONDS, value):
        return float(number[1])
    with contextlib.suppress(ValueError, OverflowError, TypeError):
        if date := email.utils.parsedate_tz(value):
            left = email.utils.mktime_tz(date) - time.time()
            return left if left > 0 and math.isfinite(left) else None
    return None
