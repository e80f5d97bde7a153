"""The requests about responses that the server keeps: the rest of one, and the end of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import requests

from . import endpoints
from .attempts import Attempts
from .background import Background
from .endpoints import Endpoint
from .request import Headers, Request, merge, with_query
from .timeouts import Timeout
from .transport import NetworkCall

__all__ = ["in_background"]

_CANCELLING = 10.0  # seconds, where connecting may take any time


def in_background(
    request: Request,
    endpoint: Endpoint[Any, Any],
    url: Callable[[str, Any], str],
    attempts: Attempts,
    timeout: Timeout,
    max_bytes: int,
) -> Background | None:
    """What a stream needs to go on after a break, if its response runs in the background.

    :param request: the first; later ones have its headers and its query.
    :param url: of a path and a body.
    :param timeout: the stream's.
    :param max_bytes: the most that an answer to a cancel may have.
    """
    if not (request.background or endpoint.stored):
        return None

    def about(stored: Endpoint[Any, Any], query: Mapping[str, Any]) -> Request:
        headers: Headers = {"Content-Type": None}
        if stored.method == "POST":
            headers = {"Content-Type": None, "Accept": "application/json"}
        return attrs.evolve(
            request,
            url=with_query(url(stored.path, {}), query),
            headers=merge(request.headers, headers),
            body=b"",
            method=stored.method,
            if_missing=stored.if_missing,
        )

    def resume(call: NetworkCall, ident: str, last: int | None) -> requests.Response:
        stored = endpoints.stored_response(ident, "GET", after=last)
        return attempts.open(about(stored, stored.query(request.query)), call)

    def cancel(ident: str, within: float | None) -> None:
        seconds = timeout.connect or _CANCELLING
        if within is not None:
            seconds = min(seconds, within)
        limits = Timeout(connect=seconds, idle=seconds, gap=seconds, total=seconds)
        once = attrs.evolve(attempts, max_retries=0, sent=None)
        call = NetworkCall(limits, streaming=False)
        stored = endpoints.stored_response(ident, "POST", "/cancel")
        once.open(about(stored, request.query), call, max_bytes)

    ends = (*endpoint.last, *endpoint.failed)
    return Background(resume, cancel, ends, endpoint.stored or None, endpoint.after)
