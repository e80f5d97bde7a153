"""Asks a server with one library, as its documentation shows it: jobs in, outcomes out, by line.

``python ask.py openai``; for ``compare_verdicts``. Retries and all else are the library's defaults,
but for the time-out, which each library is given as it wants it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

# Otherwise it fetches a list of prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

JSON = dict[str, Any]
MESSAGES: Any = [{"role": "user", "content": "Hello"}]


def ours(job: JSON) -> None:
    from openai_stream import Client, Timeout  # noqa: PLC0415

    timeout = Timeout(idle=job["timeout"], gap=job["timeout"])
    with Client(api_key="test", base_url=job["url"], timeout=timeout) as client:
        events = client.create_chat_completion(model="m", messages=MESSAGES, stream=True)
        for _ in events:
            if job["stop"]:
                events.close()
                break


def openai(job: JSON) -> None:
    import openai  # noqa: PLC0415

    # Not closed: that would close a stream that was left open.
    client = openai.OpenAI(api_key="test", base_url=job["url"], timeout=job["timeout"])
    events: Any = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    for _ in events:
        if job["stop"]:
            events.close()
            break


def litellm(job: JSON) -> None:
    import litellm  # noqa: PLC0415

    litellm.suppress_debug_info = True
    events: Any = litellm.completion(
        model="openai/m",
        messages=MESSAGES,
        api_base=job["url"],
        api_key="test",
        timeout=job["timeout"],
        stream=True,
    )
    for _ in events:
        if job["stop"]:
            if hasattr(events, "close"):
                events.close()
            break
    # One that has no such method is at least not held on to.
    del events


LIBRARIES: dict[str, Callable[[JSON], None]] = {
    "openai-stream": ours,
    "openai": openai,
    "litellm": litellm,
}


def main(library: str) -> None:
    results, sys.stdout = sys.stdout, sys.stderr  # one of them prints
    for line in sys.stdin:
        error = None
        try:
            LIBRARIES[library](json.loads(line))
        except Exception as raised:
            error = type(raised).__name__
        print(json.dumps({"error": error}), file=results, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
