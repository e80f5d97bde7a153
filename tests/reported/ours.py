"""One report, played to this library: the job in, what came of it out, both as JSON.

``python -m reported.ours`` reads jobs and writes outcomes, a line each, so that the library may be
that of another checkout. The players of other libraries, in ``benchmarks/peers/``, do the same.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from helpers import JSON, SOON

from openai_stream import Client, OpenAIStreamError, Timeout

_ATTRIBUTES = ("type", "code", "status_code", "request_id", "retry_after", "retryable")


def ours(job: JSON) -> JSON:
    """What the library makes of a report.

    :param job: ``url``, ``endpoint``, ``body``, ``stream``, and how many ``retries`` there may be.
    :returns: ``whole`` or ``error``; of a stream also its ``events`` and its ``text``.
    """
    timeout = Timeout(connect=SOON, idle=SOON, gap=SOON)
    with Client(
        api_key="sk-test", base_url=job["url"], max_retries=job["retries"], timeout=timeout
    ) as client:
        return _streamed(client, job) if job["stream"] else _unstreamed(client, job)


def _unstreamed(client: Client, job: JSON) -> JSON:
    try:
        return {"whole": _call(client, job).to_dict()}
    except Exception as error:
        return {"error": _told(error)}


def _streamed(client: Client, job: JSON) -> JSON:
    outcome: JSON = {"events": []}
    events = _call(client, job, stream=True, nowait=True, replay=True)
    try:
        for event in events:
            outcome["events"].append(_plain(event))
        outcome["whole"] = _plain(events.stream.result(SOON))
    except Exception as error:
        outcome["error"] = _told(error)
    if job["endpoint"] != "any":
        outcome["text"] = ""
        with suppress(OpenAIStreamError):
            for piece in events.stream.subscribe().text():
                outcome["text"] += piece
    return outcome


def _call(client: Client, job: JSON, **arguments: Any) -> Any:
    endpoint, body = job["endpoint"], {"model": "m", **job["body"]}
    if endpoint == "any":
        del arguments["stream"]
        return client.stream("/any", body, **arguments)
    calls: dict[str, tuple[str, Callable[..., Any]]] = {
        "chat": ("messages", client.create_chat_completion),
        "completions": ("prompt", client.create_completion),
        "responses": ("input", client.create_response),
    }
    name, call = calls[endpoint]
    return call(**{name: [], **body}, **arguments)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if type(value).__name__ == "ServerEvent":
        return {"event": value.event, "data": value.data, "id": value.id}
    return value


def _told(error: Exception) -> JSON:
    attributes = {name: getattr(error, name) for name in _ATTRIBUTES if hasattr(error, name)}
    return {
        "class": type(error).__name__,
        "own": isinstance(error, OpenAIStreamError),
        "said": str(error),
        "attributes": attributes,
        "snapshot": _plain(getattr(error, "snapshot", None)),
    }


def main() -> None:
    for line in sys.stdin:
        outcome = json.dumps(ours(json.loads(line)), ensure_ascii=False)
        # In ASCII, JSON would join the halves of a character that the library left apart.
        print(re.sub("[\ud800-\udfff]", "<half>", outcome), flush=True)


if __name__ == "__main__":
    main()
