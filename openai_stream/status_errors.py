"""The error for a response whose status says no: what its body says, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import requests
import requests.structures

from . import errors
from .errors import APIStatusError
from .misframed import unframed
from .redaction import cleaned, cleaned_headers
from .retrying import has_no_credit
from .server_errors import clip, error_fields, retry_after

__all__ = ["status_error"]

_HINTS = {
    401: "Is the API key right?",
    402: "The account has no credit; until it has, asking again does not help",
    429: "Slow down, or look at the account's limits",
}
_PAGE = r"(?is)\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b"
_TITLE = r"(?i)<title\b[^>]*>([^<]*)"
_START = 65536  # characters of a page in which its title is looked for


def status_error(
    response: requests.Response,
    text: str,
    where: str,
    clean: Callable[[str], str],
    keyed: bool,
    if_missing: str,
) -> APIStatusError:
    """The error for a response whose status says no.

    :param text: its body, as far as it came.
    :param where: what was asked.
    :param clean: takes secrets out.
    :param keyed: whether a key was sent.
    :param if_missing: what to do about status 404.
    """
    status = response.status_code
    body: Any = clean(text) or None
    with contextlib.suppress(ValueError, RecursionError):
        body = cleaned(json.loads(unframed(text)), clean)
    said, kind, code = error_fields(body)
    if isinstance(body, str):
        said = _title(body) if re.match(_PAGE, body) else body if _is_readable(body) else None
    elif said is None and body:
        said = json.dumps(body)
    headers = requests.structures.CaseInsensitiveDict(cleaned_headers(response.headers, clean))
    request_id = headers.get("x-request-id")
    told = errors.class_of_status(status)(
        status_code=status,
        body=body,
        code=code,
        type=kind,
        request_id=request_id,
        headers=headers,
        retry_after=retry_after(response.headers),
    )
    message = f"{where}: {status} {clean(response.reason or '')}".rstrip()
    if said:
        message += f": {clip(said)}"
    if named := ", ".join(part for part in (kind, code) if part):
        message += f" ({clip(named, 100)})"
    if status == 400 and "stream_options" in text:
        message += ". This server does not take stream_options: leave it out"
    elif status == 401 and not keyed:
        message += ". No API key was sent: set OPENAI_API_KEY, or pass api_key=…"
    elif status == 404:
        message += f". {if_missing}"
    elif hint := _HINTS.get(402 if has_no_credit(told) else status):
        message += f". {hint}"
    if request_id:
        message += f" [request {request_id}]"
    told.args = (message,)
    return told


def _is_readable(text: str) -> bool:
    """Whether it is text, not something that is still compressed, say."""
    text = text[:_START]
    strange = sum(not (one.isprintable() or one.isspace()) or one == "\ufffd" for one in text)
    # A few may be a text in another encoding, or one that was cut in a character.
    return strange <= len(text) // 10


def _title(page: str) -> str | None:
    """The title of a page: the rest of it is not for people who read messages."""
    import html  # noqa: PLC0415 - few servers answer with a page

    found = re.search(_TITLE, page[:_START])
    return html.unescape(found[1]).strip() or None if found else None
