"""``/responses``, and the responses that a server keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import attrs

from openai_stream.accumulate import UNKNOWN, Asked
from openai_stream.accumulate.responses import ResponseAccumulator
from openai_stream.content import response_content
from openai_stream.first_use import importing
from openai_stream.models.responses import Response, ResponseEvent
from openai_stream.response_texts import ResponseTexts, response_text

from .endpoint import Endpoint

if TYPE_CHECKING:
    from openai_stream.parts.pieces import PartsReader

__all__ = ["RESPONSES", "can_be_id", "stored_response"]


def _response_parts(asked: Asked, choice: int) -> PartsReader:
    with importing():
        from openai_stream.parts.pieces import NoParts  # noqa: PLC0415
        from openai_stream.parts.responses import ResponseParts  # noqa: PLC0415

    return ResponseParts() if choice == 0 else NoParts()


#: Source: OpenAI API reference, "Responses", "Streaming events".
RESPONSES: Endpoint[ResponseEvent, Response] = Endpoint(
    path="/responses",
    event=ResponseEvent.from_dict,
    whole=Response.from_dict,
    accumulator=lambda asked=UNKNOWN: ResponseAccumulator(),
    text=response_text,
    reading=lambda asked, index: ResponseTexts(index),
    is_whole=lambda answer: isinstance(answer.get("output"), list),
    own="response.",
    # The third is what some gateways send in the place of the first two.
    last=("response.completed", "response.incomplete", "response.done"),
    failed=("response.failed", "response.error", "error"),
    class_argument="text_format",
    parts=_response_parts,
    carries=response_content,
    may_run_in_background=True,
)


_FORGOTTEN = (
    "Does the server still keep that response? Of those asked for with store=True or "
    "background=True it does, for some time"
)


def can_be_id(value: object) -> bool:
    """Whether it can be the id of a response, which becomes a part of a path."""
    if not isinstance(value, str) or not value.strip(". "):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character
        return False
    return True


def stored_response(
    ident: str, method: str, action: str = "", after: int | None = None
) -> Endpoint[ResponseEvent, Response]:
    """A response that the server keeps. Source: "Responses", *Get* and *Cancel a response*.

    :param ident: its ``id``.
    :param action: what is done to it, behind a slash.
    :param after: the number of the last event that is not wanted.
    :raises TypeError: the id is not a string.
    :raises ValueError: it is a string that cannot be one.
    """
    if not isinstance(ident, str):
        raise TypeError(f"the id of a response must be a string, not {ident!r}")
    if not can_be_id(ident):
        raise ValueError(f"the id of a response cannot be {ident!r}: it is as in response.id")
    return attrs.evolve(
        RESPONSES,
        path=f"{RESPONSES.path}/{quote(ident, safe='')}{action}",
        is_whole=lambda answer: answer.get("object") == "response" or RESPONSES.is_whole(answer),
        method=method,
        stored=ident,
        after=after,
        if_missing=_FORGOTTEN,
    )
